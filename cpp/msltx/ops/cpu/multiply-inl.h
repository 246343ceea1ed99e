// c (+)= a b on small tiles, for attention: operands where they lie (any row stride, a also
// transposed), and triangular ranges cut out strip by strip, which a library's product cannot do. c
// is float32; operands are too, or pairs of bfloat16 (pairs-inl.h). Compiled once per instruction
// set.
//
// A tile of kStrip rows by kVectors vectors of c is held in registers: with 4 x 4, sixteen chains
// of additions hide their latency, and each element of b loaded serves four rows. b is taken in
// panels of kVectors vectors and blocks of kInner rows (16 KiB with AVX-512), which stay in the
// first-level cache while the strips of a pass by. Every element of c is one chain of additions in
// the order of the inner dimension (restarting from c at each block): its bits do not depend on the
// strip it is in.
#include "msltx/ops/cpu/simd-inl.h"
#include "msltx/ops/cpu/tasks.h"

#if defined(MSLTX_OPS_CPU_MULTIPLY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MSLTX_OPS_CPU_MULTIPLY_INL_H_
#undef MSLTX_OPS_CPU_MULTIPLY_INL_H_
#else
#define MSLTX_OPS_CPU_MULTIPLY_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace msltx::ops::cpu::HWY_NAMESPACE {

constexpr int kStrip = 4;
// AVX2 has 16 registers, the others 32.
constexpr int kVectors = HWY_TARGET == HWY_AVX2 ? 2 : 4;
constexpr int64_t kInner = 64;

HWY_INLINE int64_t panel_width() { return kVectors * lanes(); }

// How factors are multiplied and added up: numbers of float32.
struct Numbers {
  static HWY_INLINE VF multiply_add(VF a, VF b, VF sum) { return hn::MulAdd(a, b, sum); }
};

// Element (r, k) of a is at data + r * row + k * inner.
struct Left {
  const float* data;
  int64_t row, inner;
};

// b, cut into panels of panel_width() columns which are `panel` elements apart.
struct Right {
  const float* data;
  int64_t row, panel;
};
HWY_INLINE Right right(Matrix m) { return {m.data, m.stride, panel_width()}; }

// What one strip of rows needs: columns [0, columns) of c, of which panels wholly before
// `first_column` are left alone, and [begin, end) of the inner dimension.
struct Range {
  int64_t columns, begin, end, first_column = 0;
};

// kRows rows by kCount vectors, of which the last has `count` columns.
template <class Factors, int kRows, int kCount, class Io>
HWY_INLINE void tile(Io io, int64_t count, Matrix c, Left a, const float* b, int64_t b_row,
                     int64_t begin, int64_t end, bool accumulate) {
  const int64_t N = lanes();
  VF s[kRows][kCount];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kCount; ++v) {
      s[r][v] = accumulate ? io.load(c.row(r) + v * N, count) : hn::Zero(F());
    }
  }
  const float* x = a.data + begin * a.inner;
  const float* y = b + begin * b_row;
  for (int64_t k = begin; k < end; ++k, x += a.inner, y += b_row) {
    VF row[kCount];
    for (int v = 0; v < kCount; ++v) row[v] = io.load(y + v * N, count);
    for (int r = 0; r < kRows; ++r) {
      const VF factor = hn::Set(F(), x[r * a.row]);
      for (int v = 0; v < kCount; ++v) {
        s[r][v] = Factors::multiply_add(factor, row[v], s[r][v]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kCount; ++v) io.store(s[r][v], c.row(r) + v * N, count);
  }
}

// kRows rows by at most one panel of columns.
template <class Factors, int kRows>
HWY_INLINE void strip(Matrix c, Left a, const float* b, int64_t b_row, int64_t columns,
                      int64_t begin, int64_t end, bool accumulate) {
  const int64_t N = lanes(), whole = HWY_MIN(columns / N, int64_t{kVectors});
  switch (whole) {
    case 4:
      if constexpr (kVectors >= 4)
        tile<Factors, kRows, 4>(Whole(), N, c, a, b, b_row, begin, end, accumulate);
      break;
    case 3:
      if constexpr (kVectors >= 4)
        tile<Factors, kRows, 3>(Whole(), N, c, a, b, b_row, begin, end, accumulate);
      break;
    case 2:
      tile<Factors, kRows, 2>(Whole(), N, c, a, b, b_row, begin, end, accumulate);
      break;
    case 1:
      tile<Factors, kRows, 1>(Whole(), N, c, a, b, b_row, begin, end, accumulate);
      break;
    default:
      break;
  }
  const int64_t done = whole * N;
  if (whole < kVectors && done < columns) {
    tile<Factors, kRows, 1>(Part(), columns - done, {c.data + done, c.stride}, a, b + done, b_row,
                            begin, end, accumulate);
  }
}

// c (+)= a b; range(first, rows) says what a strip of rows needs. Columns past a strip's range are
// left alone, so b need not be defined there.
template <class Factors = Numbers, class RangeOf>
HWY_INLINE void multiply(Matrix c, Left a, Right b, int64_t rows, int64_t columns, int64_t inner,
                         bool accumulate, const RangeOf& range) {
  for (int64_t k = 0; k < HWY_MAX(inner, int64_t{1}); k += kInner) {
    for (int64_t j = 0; j < columns; j += panel_width()) {
      const float* panel = b.data + j / panel_width() * b.panel;
      for (int64_t r = 0; r < rows;) {
        const int64_t height = rows - r >= kStrip ? kStrip : 1;
        const Range needed = range(r, height);
        const int64_t begin = HWY_MAX(k, needed.begin), end = HWY_MIN(k + kInner, needed.end);
        const int64_t width = HWY_MIN(needed.columns - j, panel_width());
        const bool add = accumulate || k > 0;
        const bool skips = j + panel_width() <= needed.first_column;
        if (width > 0 && !skips && (begin < end || !add)) {
          const Matrix to{c.row(r) + j, c.stride};
          const Left from{a.data + r * a.row, a.row, a.inner};
          if (height == kStrip) {
            strip<Factors, kStrip>(to, from, panel, b.row, width, begin, end, add);
          } else {
            strip<Factors, 1>(to, from, panel, b.row, width, begin, end, add);
          }
        }
        r += height;
      }
    }
  }
}

// All rows alike: all columns, the whole inner dimension.
HWY_INLINE void multiply(Matrix c, Left a, Right b, int64_t rows, int64_t columns, int64_t inner,
                         bool accumulate) {
  multiply(c, a, b, rows, columns, inner, accumulate,
           [&](int64_t, int64_t) { return Range{columns, 0, inner}; });
}

// x^T as the right side of a product: panels [panel][x columns][panel_width()] of the rows of x,
// with zeros behind the last. Four by four elements at a time.
HWY_INLINE Right pack_transposed(float* to, Matrix x, int64_t rows, int64_t cols) {
  const int64_t P = panel_width();
  for (int64_t first = 0; first < rows; first += P) {
    float* panel = to + first * cols;
    const int64_t count = HWY_MIN(P, rows - first);
    int64_t s = 0;
#if HWY_TARGET != HWY_SCALAR
    const hn::Full128<float> d;
    for (; s + 4 <= count; s += 4) {
      const float *x0 = x.row(first + s), *x1 = x.row(first + s + 1), *x2 = x.row(first + s + 2),
                  *x3 = x.row(first + s + 3);
      int64_t i = 0;
      for (; i + 4 <= cols; i += 4) {
        const auto a = hn::LoadU(d, x0 + i), b = hn::LoadU(d, x1 + i), e = hn::LoadU(d, x2 + i),
                   f = hn::LoadU(d, x3 + i);
        const auto ae_low = hn::InterleaveLower(d, a, e), bf_low = hn::InterleaveLower(d, b, f);
        const auto ae_high = hn::InterleaveUpper(d, a, e), bf_high = hn::InterleaveUpper(d, b, f);
        float* at = panel + i * P + s;
        hn::StoreU(hn::InterleaveLower(d, ae_low, bf_low), d, at);
        hn::StoreU(hn::InterleaveUpper(d, ae_low, bf_low), d, at + P);
        hn::StoreU(hn::InterleaveLower(d, ae_high, bf_high), d, at + 2 * P);
        hn::StoreU(hn::InterleaveUpper(d, ae_high, bf_high), d, at + 3 * P);
      }
      for (; i < cols; ++i) {
        float* at = panel + i * P + s;
        at[0] = x0[i];
        at[1] = x1[i];
        at[2] = x2[i];
        at[3] = x3[i];
      }
    }
#endif
    for (int64_t i = 0; i < cols; ++i) {
      for (int64_t r = s; r < P; ++r) panel[i * P + r] = r < count ? x.row(first + r)[i] : 0.0f;
    }
  }
  return {to, P, cols * P};
}

}  // namespace msltx::ops::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
