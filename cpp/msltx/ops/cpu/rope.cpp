// Rotary position embedding; the formulas are in reference/rope.cpp. Faster than it: vectors, and
// the cosines and sines of a position are laid out once for all of its heads.
#include "msltx/ops/cpu/cpu.h"
#include "msltx/ops/cpu/tasks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "msltx/ops/cpu/rope.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "msltx/ops/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace msltx::ops::cpu::HWY_NAMESPACE {

// Pairs of a head that are turned at a time: their cosines and sines stay in the first-level cache.
constexpr int64_t kPairs = 256;

// Pairs [first, first + count) of hs/2, each of them hs/2 apart.
template <class E>
HWY_INLINE void rotate_halves(MatrixOf<E> out_heads, MatrixOf<E> x_heads, int64_t heads,
                              const float* cosines, const float* sines, int64_t first_pair,
                              int64_t count, int64_t half) {
  for (int64_t h = 0; h < heads; ++h) {
    const E* x = x_heads.row(h) + first_pair;
    E* out = out_heads.row(h) + first_pair;
    for_vectors(0, count, [&](auto io, int64_t i, int64_t lanes_used) HWY_ATTR {
      const VF c = io.load(cosines + i, lanes_used), s = io.load(sines + i, lanes_used);
      const VF a = io.load(x + i, lanes_used), b = io.load(x + half + i, lanes_used);
      io.store(hn::MulSub(a, c, hn::Mul(b, s)), out + i, lanes_used);
      io.store(hn::MulAdd(a, s, hn::Mul(b, c)), out + half + i, lanes_used);
    });
  }
}

// Neighbours: cosines has each one twice, sines -sin and sin, so that out = x cos + x' sin with the
// two of a pair exchanged in x'.
template <class E>
HWY_INLINE void rotate_neighbours(MatrixOf<E> out_heads, MatrixOf<E> x_heads, int64_t heads,
                                  const float* cosines, const float* sines, int64_t first_pair,
                                  int64_t count) {
  for (int64_t h = 0; h < heads; ++h) {
    const E* x = x_heads.row(h) + 2 * first_pair;
    E* out = out_heads.row(h) + 2 * first_pair;
#if HWY_TARGET == HWY_SCALAR
    for (int64_t i = 0; i < 2 * count; i += 2) {
      const auto a = static_cast<float>(x[i]), b = static_cast<float>(x[i + 1]);
      out[i] = E(a * cosines[i] + b * sines[i]);
      out[i + 1] = E(b * cosines[i + 1] + a * sines[i + 1]);
    }
#else
    for_vectors(0, 2 * count, [&](auto io, int64_t i, int64_t lanes_used) HWY_ATTR {
      const VF v = io.load(x + i, lanes_used);
      const VF turned = hn::Mul(hn::Reverse2(F(), v), io.load(sines + i, lanes_used));
      io.store(hn::MulAdd(v, io.load(cosines + i, lanes_used), turned), out + i, lanes_used);
    });
#endif
  }
}

// The heads of one position, in rows of out and x; `turn` is 1 forwards and -1 backwards.
template <class E>
HWY_INLINE void rotate_typed(MatrixOf<E> out, MatrixOf<E> x, int64_t heads, const float* table,
                             int64_t hs, bool split, float turn) {
  float cosines[2 * kPairs], sines[2 * kPairs];
  const int64_t half = hs / 2;
  for (int64_t first_pair = 0; first_pair < half; first_pair += kPairs) {
    const int64_t count = HWY_MIN(kPairs, half - first_pair);
    const float* angles = table + 2 * first_pair;
    if (split) {
      for (int64_t i = 0; i < count; ++i) {
        cosines[i] = angles[2 * i];
        sines[i] = turn * angles[2 * i + 1];
      }
      rotate_halves(out, x, heads, cosines, sines, first_pair, count, half);
    } else {
      for (int64_t i = 0; i < count; ++i) {
        cosines[2 * i] = cosines[2 * i + 1] = angles[2 * i];
        sines[2 * i] = -turn * angles[2 * i + 1];
        sines[2 * i + 1] = turn * angles[2 * i + 1];
      }
      rotate_neighbours(out, x, heads, cosines, sines, first_pair, count);
    }
  }
}

void rotate_heads(AnyMatrix out, AnyMatrix x, int64_t heads, const float* table, int64_t hs,
                  bool split, float turn) {
  with_type(x.dtype, [&]<class E>(E) {
    rotate_typed(out.as<E>(), x.as<E>(), heads, table, hs, split, turn);
  });
}

}  // namespace msltx::ops::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msltx::ops {
namespace cpu {

HWY_EXPORT(rotate_heads);

namespace {

// The heads of a (B, heads, T, hs) tensor at one position, as rows.
AnyMatrix heads_at(const Tensor& t, int64_t b, int64_t position) {
  AnyMatrix rows(t, b, position * t.stride(2));
  rows.stride = t.stride(1);
  return rows;
}

template <class Op>
void rotate(Stream& stream, const Op& op, const Tensor& out, const Tensor& x, float turn) {
  const int64_t nh = x.dim(1), T = x.dim(2), hs = x.dim(3);
  const auto run = HWY_DYNAMIC_DISPATCH(rotate_heads);
  for_row_blocks(stream, x.dim(0) * T, nh * hs, [&](int64_t first, int64_t count, int) {
    for (int64_t n = first; n < first + count; ++n) {
      const int64_t b = n / T, t = n % T;
      const int64_t offset =
          op.offsets.defined() ? op.offsets.template data<int32_t>()[b] : op.offset;
      run(heads_at(out, b, t), heads_at(x, b, t), nh,
          op.table.data() + (offset + t) * op.table.stride(0), hs,
          op.layout == RopeLayout::half_split, turn);
    }
  });
}

void rope_forward(Stream& stream, const RopeForward& op) { rotate(stream, op, op.out, op.x, 1); }

void rope_backward(Stream& stream, const RopeBackward& op) {
  rotate(stream, op, op.d_x, op.d_out, -1);
}

}  // namespace
}  // namespace cpu

void CpuBackend::add_rope() {
  add<cpu::rope_forward>(true);
  add<cpu::rope_backward>(true);
}

}  // namespace msltx::ops
#endif
