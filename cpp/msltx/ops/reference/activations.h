// Sigmoid, SiLU, ReLU and their derivatives in one number; GELU's are in gelu.h.
#pragma once

#include <cmath>

#include "msltx/ops/linear.h"
#include "msltx/ops/reference/gelu.h"

namespace msltx::ops {

inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
inline double sigmoid_derivative(double x) { return sigmoid(x) * sigmoid(-x); }

inline double silu(double x) { return x * sigmoid(x); }
inline double silu_derivative(double x) { return sigmoid(x) * (1 + x * sigmoid(-x)); }

// 0 at 0, and for NaN what lets it through.
inline double relu(double x) { return x <= 0 ? 0 : x; }
inline double relu_derivative(double x) { return x <= 0 ? 0 : 1; }

inline double activate(Activation activation, double x) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::gelu_tanh:
      return gelu_tanh(x);
    case Activation::gelu:
      return gelu_erf(x);
    case Activation::relu:
      return relu(x);
    case Activation::silu:
      return silu(x);
  }
  return x;
}

inline double derivative(Activation activation, double x) {
  switch (activation) {
    case Activation::none:
      return 1;
    case Activation::gelu_tanh:
      return gelu_tanh_derivative(x);
    case Activation::gelu:
      return gelu_erf_derivative(x);
    case Activation::relu:
      return relu_derivative(x);
    case Activation::silu:
      return silu_derivative(x);
  }
  return 1;
}

}  // namespace msltx::ops
