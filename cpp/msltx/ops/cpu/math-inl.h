// exp, tanh, GELU, sigmoid, SiLU and ReLU on vectors of float32. Compiled once per instruction
// set.
//
// exp: x = k ln 2 + r with |r| <= ln 2 / 2 (ln 2 in two parts: Cody and Waite 1980), exp(r) = 1 + r
// + r^2 P(r). P is our own minimax fit (linear programming over 2,001 Chebyshev points): relative
// error 3e-9 before rounding, about 1 ulp after. Below -87.33 the result is 0 (no denormals).
//
// tanh: x + x^3 P(x^2) up to |x| = 0.625, our own minimax fit (iterated weighted least squares) to
// relative error 5e-9 before rounding, so that small arguments lose no digits; 1 - 2 / (exp(2 |x|)
// + 1) beyond.
//
// GELU, tanh form: 0.5 (1 + tanh(u)) = 1 / (1 + exp(-2u)): one exponential, one division.
// GELU, erf form: x Phi(x), and for x >= 0 Phi(-x) = exp(-x^2 / 2) t Q(t) with t = 1 / (1 + 0.3 x),
// the shape of Abramowitz and Stegun 7.1.26; Q is our own minimax fit of degree 7 to relative error
// 1.5e-7 on [0, 14]. The exponential serves the derivative Phi(x) + x phi(x) as well.
#include "msltx/ops/cpu/simd-inl.h"

#if defined(MSLTX_OPS_CPU_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MSLTX_OPS_CPU_MATH_INL_H_
#undef MSLTX_OPS_CPU_MATH_INL_H_
#else
#define MSLTX_OPS_CPU_MATH_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace msltx::ops::cpu::HWY_NAMESPACE {

HWY_INLINE VF set(float value) { return hn::Set(F(), value); }

// exp without the ends of its range: right for x in [-87.33, 88.72], NaN for NaN.
HWY_INLINE VF exp_in_range(VF x) {
  using I = hn::RebindToSigned<F>;
  // Adding 1.5 * 2^23 rounds to an integer, which is then found in the lowest bits.
  const VF magic = set(12582912.0f);
  const VF shifted = hn::MulAdd(x, set(1.44269504f), magic);
  const VF k = hn::Sub(shifted, magic);
  VF r = hn::NegMulAdd(k, set(0.693359375f), x);
  r = hn::NegMulAdd(k, set(-2.12194440e-4f), r);
  VF p = hn::MulAdd(r, set(1.3814599e-3f), set(8.368717e-3f));
  p = hn::MulAdd(r, p, set(4.166839e-2f));
  p = hn::MulAdd(r, p, set(1.6666521e-1f));
  p = hn::MulAdd(r, p, set(4.9999994e-1f));
  p = hn::Add(hn::MulAdd(hn::Mul(r, r), p, r), set(1.0f));
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(I(), shifted));
  return hn::BitCast(F(), hn::Add(hn::BitCast(I(), p), exponent));
}

// For softmax and its like: x <= 0 or NaN.
HWY_INLINE VF exp_not_positive(VF x) {
  return hn::IfThenZeroElse(hn::Lt(x, set(-87.33f)), exp_in_range(x));
}

HWY_INLINE VF exp(VF x) {
  const VF infinity = set(kInfinity);
  return hn::IfThenElse(hn::Gt(x, set(88.722839f)), infinity, exp_not_positive(x));
}

HWY_INLINE VF tanh(VF x) {
  const VF a = hn::Abs(x), z = hn::Mul(x, x);
  VF p = hn::MulAdd(z, set(-5.7049869e-3f), set(2.0639088e-2f));
  p = hn::MulAdd(z, p, set(-5.3739715e-2f));
  p = hn::MulAdd(z, p, set(1.3331442e-1f));
  p = hn::MulAdd(z, p, set(-3.3333281e-1f));
  const VF small = hn::MulAdd(hn::Mul(x, z), p, x);
  const VF large = hn::Sub(set(1.0f), hn::Div(set(2.0f), hn::Add(exp(hn::Add(a, a)), set(1.0f))));
  return hn::IfThenElse(hn::Lt(a, set(0.625f)), small, hn::CopySign(large, x));
}

// The sum of exp(x - top) for top >= x, which -inf behind a row leaves as it is, to the bit.
// keep(io, exponentials, i, count) is given every vector.
template <class T, class Keep>
HWY_INLINE double sum_of_exponentials(const T* x, int64_t n, float top, const Keep& keep) {
  const VF shift = set(top);
  const int64_t N = lanes();
  double total = 0;
  for (int64_t i = 0; i < n;) {
    const int64_t end = HWY_MIN(n, i + sum_block());
    VF s0 = hn::Zero(F()), s1 = s0;
    for (; i + 2 * N <= end; i += 2 * N) {
      const VF e0 = exp_not_positive(hn::Sub(Whole().load(x + i, N), shift));
      const VF e1 = exp_not_positive(hn::Sub(Whole().load(x + i + N, N), shift));
      keep(Whole(), e0, i, N);
      keep(Whole(), e1, i + N, N);
      s0 = hn::Add(s0, e0);
      s1 = hn::Add(s1, e1);
    }
    for (; i < end; i += N) {
      const int64_t count = HWY_MIN(N, end - i);
      const VF e = exp_not_positive(hn::Sub(load_part(x + i, count), shift));
      keep(Part(), e, i, count);
      const VF s = hn::Add(s0, hn::IfThenElseZero(first(count), e));
      s0 = s1;  // the chains take turns, as above
      s1 = s;
    }
    total += double{sum_of_lanes(hn::Add(s0, s1))};
  }
  return total;
}

// The same with out = exp(x - top); out may be x.
HWY_INLINE double exp_and_sum(float* out, const float* x, int64_t n, float top) {
  return sum_of_exponentials(x, n, top, [&](auto io, VF e, int64_t i, int64_t count) HWY_ATTR {
    io.store(e, out + i, count);
  });
}

// -2u, u = sqrt(2/pi) (x + 0.044715 x^3).
HWY_INLINE VF gelu_tanh_exponent(VF x) {
  return hn::Mul(x, hn::MulAdd(hn::Mul(x, x), set(-7.1354816e-2f), set(-1.5957691f)));
}

HWY_INLINE VF gelu_tanh(VF x) { return hn::Div(x, hn::Add(set(1.0f), exp(gelu_tanh_exponent(x)))); }

// x, moved to the nearest of -limit and limit where it lies outside; NaN for NaN.
HWY_INLINE VF bounded(VF x, float limit) {
  const VF above = hn::IfThenElse(hn::Gt(x, set(limit)), set(limit), x);
  return hn::IfThenElse(hn::Lt(x, set(-limit)), set(-limit), above);
}

// With g = 1 / (1 + e), e = exp(-2u): g + x g (1 - g) 2u', and 1 - g = e g loses no digits.
HWY_INLINE VF gelu_tanh_derivative(VF any_x) {
  const VF x = bounded(any_x, 9.5f);  // the derivative is 0 or 1 outside, and e overflows there
  const VF e = exp_in_range(gelu_tanh_exponent(x));
  const VF gate = hn::Div(set(1.0f), hn::Add(set(1.0f), e));
  const VF slope = hn::MulAdd(hn::Mul(x, x), set(2.1406445e-1f), set(1.5957691f));
  return hn::MulAdd(hn::Mul(hn::Mul(gate, e), gate), hn::Mul(x, slope), gate);
}

struct NormalDistribution {
  VF cumulative, bell;  // Phi(x), exp(-x^2 / 2)
};

HWY_INLINE NormalDistribution normal_distribution(VF x) {
  const VF a = hn::Abs(x);
  const VF bell = exp_not_positive(hn::Mul(hn::Mul(x, set(-0.5f)), x));
  const VF t = hn::Div(set(1.0f), hn::MulAdd(a, set(0.3f), set(1.0f)));
  VF q = hn::MulAdd(t, set(3.5674762e-2f), set(-1.5720303e-1f));
  q = hn::MulAdd(t, q, set(2.0635343e-1f));
  q = hn::MulAdd(t, q, set(-5.368358e-2f));
  q = hn::MulAdd(t, q, set(1.285616e-1f));
  q = hn::MulAdd(t, q, set(9.99135e-2f));
  q = hn::MulAdd(t, q, set(1.2075395e-1f));
  q = hn::MulAdd(t, q, set(1.196293e-1f));
  const VF tail = hn::Mul(bell, hn::Mul(t, q));
  return {hn::IfThenElse(hn::Lt(x, hn::Zero(F())), tail, hn::Sub(set(1.0f), tail)), bell};
}

HWY_INLINE VF gelu_erf(VF x) { return hn::Mul(x, normal_distribution(x).cumulative); }

HWY_INLINE VF gelu_erf_derivative(VF x) {
  const NormalDistribution normal = normal_distribution(x);
  // Beyond |x| = 30 the bell is 0; the bound keeps 0 * inf out.
  return hn::MulAdd(hn::Mul(bounded(x, 30.0f), normal.bell), set(0.39894228f), normal.cumulative);
}

HWY_INLINE VF sigmoid(VF x) { return hn::Div(set(1.0f), hn::Add(set(1.0f), exp(hn::Neg(x)))); }

HWY_INLINE VF silu(VF x) { return hn::Div(x, hn::Add(set(1.0f), exp(hn::Neg(x)))); }

// 1 - tanh^2 from out = cap tanh(...).
HWY_INLINE VF softcap_slope(VF out, float cap) {
  const VF t = hn::Div(out, set(cap)), one = set(1.0f);
  return hn::Mul(hn::Sub(one, t), hn::Add(one, t));
}

struct SigmoidPair {
  VF s, rest;  // sigmoid(x) and sigmoid(-x), which is 1 - s
};

// Neither loses digits where it is small: with e = exp(-|x|) they are 1 / (1 + e) and e / (1 + e).
HWY_INLINE SigmoidPair sigmoid_pair(VF x) {
  const VF e = exp_not_positive(hn::Neg(hn::Abs(x)));
  const VF large = hn::Div(set(1.0f), hn::Add(set(1.0f), e)), small = hn::Mul(e, large);
  const MF negative = hn::Lt(x, hn::Zero(F()));
  return {hn::IfThenElse(negative, small, large), hn::IfThenElse(negative, large, small)};
}

HWY_INLINE VF sigmoid_slope(VF x) {
  const SigmoidPair pair = sigmoid_pair(x);
  return hn::Mul(pair.s, pair.rest);
}

HWY_INLINE VF relu(VF x) { return hn::IfThenZeroElse(hn::Le(x, hn::Zero(F())), x); }

// d where x is above 0 or NaN, else 0.
HWY_INLINE VF where_relu_passes(VF d, VF x) {
  return hn::IfThenZeroElse(hn::Le(x, hn::Zero(F())), d);
}

// An activation and its derivative for one exponential and one division.
struct AndSlope {
  VF value, slope;
};

HWY_INLINE AndSlope silu_and_slope(VF x) {
  const SigmoidPair pair = sigmoid_pair(x);
  return {hn::Mul(x, pair.s), hn::Mul(pair.s, hn::MulAdd(x, pair.rest, set(1.0f)))};
}

HWY_INLINE AndSlope gelu_tanh_and_slope(VF any_x) {
  const VF x = bounded(any_x, 9.5f);
  const VF e = exp_in_range(gelu_tanh_exponent(x));
  const VF gate = hn::Div(set(1.0f), hn::Add(set(1.0f), e));
  const VF slope = hn::MulAdd(hn::Mul(x, x), set(2.1406445e-1f), set(1.5957691f));
  return {hn::Mul(hn::Max(any_x, x), gate),
          hn::MulAdd(hn::Mul(hn::Mul(gate, e), gate), hn::Mul(x, slope), gate)};
}

HWY_INLINE AndSlope gelu_erf_and_slope(VF x) {
  const NormalDistribution normal = normal_distribution(x);
  const VF bell = hn::Mul(bounded(x, 30.0f), normal.bell);
  return {hn::Mul(x, normal.cumulative), hn::MulAdd(bell, set(0.39894228f), normal.cumulative)};
}

}  // namespace msltx::ops::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
