// GELU and its derivative in one number. Hendrycks, Gimpel: "Gaussian error linear units", 2016.
//
//   tanh: 0.5 x (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3);  erf: 0.5 x (1 + erf(x / sqrt 2))
#pragma once

#include <cmath>
#include <numbers>

namespace msltx::ops {

inline double gelu_tanh(double x) {
  const double u = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
  return 0.5 * x * (1 + std::tanh(u));
}

inline double gelu_tanh_derivative(double x) {
  const double u = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
  const double du = std::sqrt(2 / std::numbers::pi) * (1 + 3 * 0.044715 * x * x);
  const double t = std::tanh(u);
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * du;
}

inline double gelu_erf(double x) { return 0.5 * x * (1 + std::erf(x / std::numbers::sqrt2)); }

inline double gelu_erf_derivative(double x) {
  const double cumulative = 0.5 * (1 + std::erf(x / std::numbers::sqrt2));
  const double density = std::exp(-0.5 * x * x) / std::sqrt(2 * std::numbers::pi);
  return cumulative + x * density;
}

}  // namespace msltx::ops
