// GELU, residual addition, softmax.
#pragma once

#include "msltx/ops/op.h"

namespace msltx::ops {

enum class Approximation : int64_t { tanh, none };

struct GeluForward {
  static constexpr std::string_view name = "gelu_forward";
  static constexpr std::string_view summary =
      "tanh: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))); none: 0.5 x (1 + erf(x / sqrt(2)))";
  Tensor out, x;
  Approximation approximate = Approximation::tanh;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &GeluForward::out, "N C").alias("x");
    v.reads("x", &GeluForward::x, "N C");
    v.choice("approximate", &GeluForward::approximate, {"tanh", "none"}, "which form");
  }
  double flops() const { return 10.0 * static_cast<double>(x.size()); }
};

struct GeluBackward {
  static constexpr std::string_view name = "gelu_backward";
  static constexpr std::string_view summary = "d_x = d_out * gelu'(x)";
  Tensor d_x, d_out, x;
  Approximation approximate = Approximation::tanh;

  template <class V>
  static void visit(V& v) {
    v.writes("d_x", &GeluBackward::d_x, "N C").alias("d_out");
    v.reads("d_out", &GeluBackward::d_out, "N C");
    v.reads("x", &GeluBackward::x, "N C");
    v.choice("approximate", &GeluBackward::approximate, {"tanh", "none"}, "which form");
  }
  double flops() const { return 18.0 * static_cast<double>(x.size()); }
};

struct ResidualAddForward {
  static constexpr std::string_view name = "residual_add_forward";
  static constexpr std::string_view summary = "out = x + residual";
  Tensor out, x, residual;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &ResidualAddForward::out, "N C").alias("x");
    v.reads("x", &ResidualAddForward::x, "N C");
    v.reads("residual", &ResidualAddForward::residual, "N C");
  }
  double flops() const { return static_cast<double>(x.size()); }
};

struct ResidualAddBackward {
  static constexpr std::string_view name = "residual_add_backward";
  static constexpr std::string_view summary = "d_x = d_residual = d_out";
  Tensor d_x, d_residual, d_out;

  template <class V>
  static void visit(V& v) {
    v.writes("d_x", &ResidualAddBackward::d_x, "N C").alias("d_out");
    v.writes("d_residual", &ResidualAddBackward::d_residual, "N C");
    v.reads("d_out", &ResidualAddBackward::d_out, "N C");
  }
  double flops() const { return 0; }
};

struct SoftmaxForward {
  static constexpr std::string_view name = "softmax_forward";
  static constexpr std::string_view summary =
      "out = exp(x - max(x)) / sum(exp(x - max(x))) over the last axis; a row of -inf gives zeros";
  Tensor out, x;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &SoftmaxForward::out, "N C").alias("x");
    v.reads("x", &SoftmaxForward::x, "N C").masked();
  }
  double flops() const { return 6.0 * static_cast<double>(x.size()); }
};

struct SoftmaxBackward {
  static constexpr std::string_view name = "softmax_backward";
  static constexpr std::string_view summary =
      "d_x = forward_out * (d_out - sum(d_out * forward_out))";
  Tensor d_x, d_out, forward_out;

  template <class V>
  static void visit(V& v) {
    v.writes("d_x", &SoftmaxBackward::d_x, "N C").alias("d_out");
    v.reads("d_out", &SoftmaxBackward::d_out, "N C");
    v.reads("forward_out", &SoftmaxBackward::forward_out, "N C", "out of the forward");
  }
  double flops() const { return 4.0 * static_cast<double>(forward_out.size()); }
};

}  // namespace msltx::ops
