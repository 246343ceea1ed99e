// Faster than the reference: whole vectors, a polynomial exponential in place of the C library's,
// and a row's passes follow each other while it is in cache. One Zen 4 core (AVX-512, 3.7 GHz), ns
// per element: bias + GELU tanh 0.36, its backward 0.46 (erf 0.51 and 0.56), column sums 0.05.
#include "msltx/ops/cpu/rows.h"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "msltx/ops/cpu/rows.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "msltx/ops/cpu/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace msltx::ops::cpu::HWY_NAMESPACE {

template <class Fn>
void bias_rows(float* out, float* pre, const float* bias, int64_t rows, int64_t cols,
               int64_t out_stride, int64_t pre_stride, const Fn& activation) {
  const int64_t N = lanes();
  for (int64_t r = 0; r < rows; ++r) {
    float* to = out + r * out_stride;
    float* keep = pre ? pre + r * pre_stride : nullptr;
    int64_t c = 0;
    for (; c + N <= cols; c += N) {
      VF v = hn::LoadU(F(), to + c);
      if (bias) v = hn::Add(v, hn::LoadU(F(), bias + c));
      if (keep) hn::StoreU(v, F(), keep + c);
      hn::StoreU(activation(v), F(), to + c);
    }
    if (c < cols) {
      VF v = load_part(to + c, cols - c);
      if (bias) v = hn::Add(v, load_part(bias + c, cols - c));
      if (keep) store_part(v, keep + c, cols - c);
      store_part(activation(v), to + c, cols - c);
    }
  }
}

void bias_activation_rows(float* out, float* pre, const float* bias, int64_t rows, int64_t cols,
                          int64_t out_stride, int64_t pre_stride, Activation activation) {
  switch (activation) {
    case Activation::none:
      if (!pre && !bias) return;
      return bias_rows(out, pre, bias, rows, cols, out_stride, pre_stride, [](VF v) { return v; });
    case Activation::gelu_tanh:
      return bias_rows(out, pre, bias, rows, cols, out_stride, pre_stride, gelu_tanh);
    case Activation::gelu:
      return bias_rows(out, pre, bias, rows, cols, out_stride, pre_stride, gelu_erf);
    case Activation::relu:
      return bias_rows(out, pre, bias, rows, cols, out_stride, pre_stride, relu);
    case Activation::silu:
      return bias_rows(out, pre, bias, rows, cols, out_stride, pre_stride, silu);
  }
}

void activation_backward_rows(float* d_pre, const float* d_out, const float* pre, int64_t rows,
                              int64_t cols, int64_t d_pre_stride, int64_t d_out_stride,
                              int64_t pre_stride, Activation activation) {
  for (int64_t r = 0; r < rows; ++r) {
    float* to = d_pre + r * d_pre_stride;
    const float* d = d_out + r * d_out_stride;
    const float* x = pre + r * pre_stride;
    switch (activation) {
      case Activation::none:
        map(cols, to, [](VF v) { return v; }, d);
        break;
      case Activation::gelu_tanh:
        map(cols, to, [](VF v, VF p) { return hn::Mul(v, gelu_tanh_derivative(p)); }, d, x);
        break;
      case Activation::gelu:
        map(cols, to, [](VF v, VF p) { return hn::Mul(v, gelu_erf_derivative(p)); }, d, x);
        break;
      case Activation::relu:
        map(cols, to, where_relu_passes, d, x);
        break;
      case Activation::silu:
        map(cols, to, [](VF v, VF p) { return hn::Mul(v, silu_and_slope(p).slope); }, d, x);
        break;
    }
  }
}

// fn(the activation), and fn(the product of a gradient and its derivative).
template <class Fn>
HWY_INLINE void with_activation(Activation activation, const Fn& fn) {
  switch (activation) {
    case Activation::none:
      return fn([](VF v) HWY_ATTR { return v; });
    case Activation::gelu_tanh:
      return fn([](VF v) HWY_ATTR { return gelu_tanh(v); });
    case Activation::gelu:
      return fn([](VF v) HWY_ATTR { return gelu_erf(v); });
    case Activation::relu:
      return fn([](VF v) HWY_ATTR { return relu(v); });
    case Activation::silu:
      return fn([](VF v) HWY_ATTR { return silu(v); });
  }
}

template <class Fn>
HWY_INLINE void with_derivative(Activation activation, const Fn& fn) {
  switch (activation) {
    case Activation::none:
      return fn([](VF d, VF) HWY_ATTR { return d; });
    case Activation::gelu_tanh:
      return fn([](VF d, VF v) HWY_ATTR { return hn::Mul(d, gelu_tanh_derivative(v)); });
    case Activation::gelu:
      return fn([](VF d, VF v) HWY_ATTR { return hn::Mul(d, gelu_erf_derivative(v)); });
    case Activation::relu:
      return fn([](VF d, VF v) HWY_ATTR { return where_relu_passes(d, v); });
    case Activation::silu:
      return fn([](VF d, VF v) HWY_ATTR { return hn::Mul(d, silu_and_slope(v).slope); });
  }
}

void any_activation_rows(AnyMatrix out, AnyMatrix pre, int64_t rows, int64_t cols,
                         Activation activation) {
  with_type(out.dtype, [&]<class Out>(Out) {
    with_type(pre.dtype, [&]<class Pre>(Pre) {
      with_activation(activation, [&](const auto& fn) {
        for (int64_t r = 0; r < rows; ++r) {
          map(cols, out.as<Out>().row(r), fn, pre.as<Pre>().row(r));
        }
      });
    });
  });
}

void any_activation_backward_rows(AnyMatrix d_pre, AnyMatrix d_out, AnyMatrix pre, int64_t rows,
                                  int64_t cols, Activation activation) {
  with_type(d_out.dtype, [&]<class D>(D) {
    with_type(pre.dtype, [&]<class Pre>(Pre) {
      with_derivative(activation, [&](const auto& fn) {
        for (int64_t r = 0; r < rows; ++r) {
          map(cols, d_pre.as<Pre>().row(r), fn, d_out.as<D>().row(r), pre.as<Pre>().row(r));
        }
      });
    });
  });
}

void convert_rows(AnyMatrix to, AnyMatrix from, int64_t rows, int64_t cols) {
  any_activation_rows(to, from, rows, cols, Activation::none);
}

void pair_rows(uint32_t* to, AnyMatrix from, int64_t row, int64_t rows, int64_t column, int64_t n) {
  with_type(from.dtype, [&]<class T>(T) {
    const T* lower = from.as<T>().row(row) + column;
    const T* upper = rows > 1 ? from.as<T>().row(row + 1) + column : nullptr;
    for_vectors(0, n, [&](auto io, int64_t i, int64_t count) HWY_ATTR {
      const auto low = hn::ShiftRight<16>(rounded(io.load(lower + i, count)));
      const auto high = upper ? rounded(io.load(upper + i, count)) : hn::Zero(U());
      const auto words = hn::Or(low, hn::And(high, hn::Set(U(), 0xffff0000u)));
      io.store(hn::BitCast(F(), words), reinterpret_cast<float*>(to + i), count);
    });
  });
}

// Sums of `rows` rows over a strip of `kVectors` vectors, held in registers. Groups of rows are
// summed apart, so that rounding errors grow with the square root of the group, not of all rows.
template <int kVectors, class Load, class Store>
HWY_INLINE void strip_sums(int64_t rows, const Load& load, const Store& store) {
  constexpr int64_t kGroup = 16;
  VF total[kVectors], group[kVectors];
  for (VF& v : total) v = hn::Zero(F());
  for (int64_t r = 0; r < rows;) {
    for (VF& v : group) v = hn::Zero(F());
    for (const int64_t end = HWY_MIN(r + kGroup, rows); r < end; ++r) {
      for (int i = 0; i < kVectors; ++i) group[i] = hn::Add(group[i], load(r, i));
    }
    for (int i = 0; i < kVectors; ++i) total[i] = hn::Add(total[i], group[i]);
  }
  for (int i = 0; i < kVectors; ++i) store(total[i], i);
}

template <int kVectors, class T>
HWY_INLINE void whole_strip_sums(float* sums, const T* x, int64_t rows, int64_t stride) {
  strip_sums<kVectors>(
      rows, [&](int64_t r, int i) { return Whole().load(x + r * stride + i * lanes(), 0); },
      [&](VF v, int i) { hn::StoreU(v, F(), sums + i * lanes()); });
}

template <class T>
HWY_INLINE void sums_of_columns(float* sums, const T* x, int64_t rows, int64_t cols,
                                int64_t stride) {
  const int64_t N = lanes();
  int64_t c = 0;
  for (; c + 8 * N <= cols; c += 8 * N) whole_strip_sums<8>(sums + c, x + c, rows, stride);
  for (; c + N <= cols; c += N) whole_strip_sums<1>(sums + c, x + c, rows, stride);
  if (c < cols) {
    strip_sums<1>(
        rows, [&](int64_t r, int) { return load_part(x + r * stride + c, cols - c); },
        [&](VF v, int) { store_part(v, sums + c, cols - c); });
  }
}

void column_sums(float* sums, const float* x, int64_t rows, int64_t cols, int64_t stride) {
  sums_of_columns(sums, x, rows, cols, stride);
}

void any_column_sums(float* sums, AnyMatrix x, int64_t rows, int64_t cols) {
  with_type(x.dtype,
            [&]<class T>(T) { sums_of_columns(sums, x.as<T>().data, rows, cols, x.stride); });
}

double log_sum_exp(const float* x, int64_t n) {
  const float top = largest(n, x);
  if (top == -kInfinity) return double{top};
  const VF shift = set(top);
  const double total = sum(n, [&](VF v) { return exp_not_positive(hn::Sub(v, shift)); }, x);
  return double{top} + std::log(total);
}

float exponentials_row(float* x, int64_t n, double* total) {
  const float top = largest(n, x);
  if (top == -kInfinity) {
    std::fill_n(x, n, 0.0f);
    *total = 0;
  } else {
    *total = exp_and_sum(x, x, n, top);
  }
  return top;
}

void softcap_row(float* out, const float* x, int64_t n, float cap) {
  const auto capped = [&](VF v) HWY_ATTR { return hn::Mul(set(cap), tanh(hn::Div(v, set(cap)))); };
  map(n, out, capped, x);
}

float capped_exponentials_row(float* x, int64_t n, float cap, double* total) {
  const float top = largest(n, x);
  const VF shift = set(top);
  double totals[1];
  sums(n, totals, [&](auto io, int64_t i, int64_t count, VF* s) HWY_ATTR {
    const VF logit = io.load(x + i, count);
    const VF e = exp_not_positive(hn::Sub(logit, shift));
    s[0] = hn::Add(s[0], io.clear(e, count));
    io.store(hn::Mul(e, softcap_slope(logit, cap)), x + i, count);
  });
  *total = totals[0];
  return top;
}

void scale_row(AnyMatrix out, AnyMatrix x, int64_t n, float factor) {
  with_type(out.dtype, [&]<class Out>(Out) {
    with_type(x.dtype, [&]<class X>(X) {
      map(
          n, out.as<Out>().data, [&](VF v) HWY_ATTR { return hn::Mul(v, set(factor)); },
          x.as<X>().data);
    });
  });
}

}  // namespace msltx::ops::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msltx::ops::cpu {

HWY_EXPORT(bias_activation_rows);
HWY_EXPORT(activation_backward_rows);
HWY_EXPORT(any_activation_rows);
HWY_EXPORT(any_activation_backward_rows);
HWY_EXPORT(convert_rows);
HWY_EXPORT(pair_rows);
HWY_EXPORT(column_sums);
HWY_EXPORT(any_column_sums);
HWY_EXPORT(log_sum_exp);
HWY_EXPORT(exponentials_row);
HWY_EXPORT(scale_row);
HWY_EXPORT(softcap_row);
HWY_EXPORT(capped_exponentials_row);

void bias_activation_rows(float* out, float* pre, const float* bias, int64_t rows, int64_t cols,
                          int64_t out_stride, int64_t pre_stride, Activation activation) {
  HWY_DYNAMIC_DISPATCH(bias_activation_rows)
  (out, pre, bias, rows, cols, out_stride, pre_stride, activation);
}

void activation_backward_rows(float* d_pre, const float* d_out, const float* pre, int64_t rows,
                              int64_t cols, int64_t d_pre_stride, int64_t d_out_stride,
                              int64_t pre_stride, Activation activation) {
  HWY_DYNAMIC_DISPATCH(activation_backward_rows)
  (d_pre, d_out, pre, rows, cols, d_pre_stride, d_out_stride, pre_stride, activation);
}

void column_sums(float* sums, const float* x, int64_t rows, int64_t cols, int64_t stride) {
  HWY_DYNAMIC_DISPATCH(column_sums)(sums, x, rows, cols, stride);
}

void activation_rows(AnyMatrix out, AnyMatrix pre, int64_t rows, int64_t cols,
                     Activation activation) {
  HWY_DYNAMIC_DISPATCH(any_activation_rows)(out, pre, rows, cols, activation);
}

void activation_backward_rows(AnyMatrix d_pre, AnyMatrix d_out, AnyMatrix pre, int64_t rows,
                              int64_t cols, Activation activation) {
  HWY_DYNAMIC_DISPATCH(any_activation_backward_rows)(d_pre, d_out, pre, rows, cols, activation);
}

void convert_rows(AnyMatrix to, AnyMatrix from, int64_t rows, int64_t cols) {
  HWY_DYNAMIC_DISPATCH(convert_rows)(to, from, rows, cols);
}

void narrow_row(bfloat16* to, AnyMatrix from, int64_t row, int64_t column, int64_t n) {
  from.data = static_cast<char*>(from.data) + (row * from.stride + column) * size_of(from.dtype);
  convert_rows({to, n}, from, 1, n);
}

void pair_rows(uint32_t* to, AnyMatrix from, int64_t row, int64_t rows, int64_t column, int64_t n) {
  HWY_DYNAMIC_DISPATCH(pair_rows)(to, from, row, rows, column, n);
}

void column_sums(float* sums, AnyMatrix x, int64_t rows, int64_t cols) {
  HWY_DYNAMIC_DISPATCH(any_column_sums)(sums, x, rows, cols);
}

double log_sum_exp(const float* x, int64_t n) { return HWY_DYNAMIC_DISPATCH(log_sum_exp)(x, n); }

float exponentials_row(float* x, int64_t n, double* total) {
  return HWY_DYNAMIC_DISPATCH(exponentials_row)(x, n, total);
}

void softcap_row(float* out, const float* x, int64_t n, float cap) {
  HWY_DYNAMIC_DISPATCH(softcap_row)(out, x, n, cap);
}

float capped_exponentials_row(float* x, int64_t n, float cap, double* total) {
  return HWY_DYNAMIC_DISPATCH(capped_exponentials_row)(x, n, cap, total);
}

void scale_row(AnyMatrix out, AnyMatrix x, int64_t n, float factor) {
  HWY_DYNAMIC_DISPATCH(scale_row)(out, x, n, factor);
}

}  // namespace msltx::ops::cpu
#endif
