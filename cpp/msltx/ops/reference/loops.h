// What the plain loops of several families share: addresses of rows, sums, the exponential family.
// Sums run in float64 and in a fixed order.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "msltx/base/tensor.h"

namespace msltx::ops {

inline constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// The last axis at the given leading indices.
inline float* row(const Tensor& t, int64_t i) { return t.data() + i * t.stride(0); }
inline float* row(const Tensor& t, int64_t i, int64_t j) {
  return t.data() + i * t.stride(0) + j * t.stride(1);
}
inline float* row(const Tensor& t, int64_t i, int64_t j, int64_t k) {
  return t.data() + i * t.stride(0) + j * t.stride(1) + k * t.stride(2);
}

// sum of a[i] b[i], in four interleaved sums: one alone would wait for each addition.
inline double dot(const float* a, const float* b, int64_t n) {
  double sums[4] = {};
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    for (int64_t lane = 0; lane < 4; ++lane) {
      sums[lane] += double{a[i + lane]} * double{b[i + lane]};
    }
  }
  for (; i < n; ++i) sums[0] += double{a[i]} * double{b[i]};
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// sum[i] += factor x[i]
inline void add_scaled(double* sum, double factor, const float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) sum[i] += factor * double{x[i]};
}

inline void round_to(float* out, const double* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(x[i]);
}

// NaN where there is one, so that it is not lost behind a -inf.
inline float largest(const float* x, int64_t n) {
  float max = kMinusInfinity;
  for (int64_t i = 0; i < n; ++i) {
    if (x[i] > max || std::isnan(x[i])) max = x[i];
  }
  return max;
}

// sum of exp(x[i] - max)
inline double sum_of_exponentials(const float* x, float max, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::exp(double{x[i]} - double{max});
  return sum;
}

// log sum exp(x), -inf where all of x is.
inline double log_sum_exp(const float* x, int64_t n) {
  const float max = largest(x, n);
  if (max == kMinusInfinity) return double{max};
  return double{max} + std::log(sum_of_exponentials(x, max, n));
}

// Partial sums (P, C) in their order, of which there may be none.
inline void add_partials(const Tensor& sum, const Tensor& partials, bool accumulate) {
  if (!sum.defined()) return;
  for (int64_t c = 0; c < sum.size(); ++c) {
    float total = accumulate ? sum.data()[c] : 0.0f;
    for (int64_t p = 0; p < partials.dim(0); ++p) total += row(partials, p)[c];
    sum.data()[c] = total;
  }
}

}  // namespace msltx::ops
