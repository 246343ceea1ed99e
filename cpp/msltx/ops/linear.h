// Matrix product with a weight of shape (out, in), with optional bias and fused activation.
#pragma once

#include "msltx/ops/op.h"

namespace msltx::ops {

enum class Activation : int64_t { none, gelu_tanh, gelu, relu, silu };

struct LinearForward {
  static constexpr std::string_view name = "linear_forward";
  static constexpr std::string_view summary =
      "pre = x weight^T + bias; out = activation(pre), or pre itself without an activation";
  Tensor out, pre, x, weight, bias;
  Activation activation = Activation::none;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &LinearForward::out, "N O").wide();
    v.writes("pre", &LinearForward::pre, "N O", "kept for the backward of the activation")
        .when("activation");
    v.reads("x", &LinearForward::x, "N C").wide();
    v.reads("weight", &LinearForward::weight, "O C").wide();
    v.reads("bias", &LinearForward::bias, "O").float32().optional();
    v.choice("activation", &LinearForward::activation,
             {"none", "gelu_tanh", "gelu", "relu", "silu"}, "gelu is the erf form");
  }
  double flops() const {
    return 2.0 * static_cast<double>(x.size()) * static_cast<double>(weight.dim(0));
  }
};

struct LinearBackwardData {
  static constexpr std::string_view name = "linear_backward_data";
  static constexpr std::string_view summary =
      "d_pre = d_out * activation'(pre); d_x = d_pre weight; partial sums of d_pre for d_bias";
  Tensor d_x, d_pre, d_bias_partials, d_out, weight, pre;
  Activation activation = Activation::none;
  int64_t partial_rows = 0;

  template <class V>
  static void visit(V& v) {
    v.writes("d_x", &LinearBackwardData::d_x, "N C").wide();
    v.writes("d_pre", &LinearBackwardData::d_pre, "N O", "for linear_backward_weights")
        .when("activation")
        .alias("d_out");
    v.writes("d_bias_partials", &LinearBackwardData::d_bias_partials, "P O").float32().optional();
    v.reads("d_out", &LinearBackwardData::d_out, "N O").wide();
    v.reads("weight", &LinearBackwardData::weight, "O C").wide();
    v.reads("pre", &LinearBackwardData::pre, "N O", "of the forward, with an activation")
        .when("activation");
    v.choice("activation", &LinearBackwardData::activation,
             {"none", "gelu_tanh", "gelu", "relu", "silu"}, "gelu is the erf form");
    v.attribute("partial_rows", &LinearBackwardData::partial_rows,
                "rows per partial sum; 0: all of them in one")
        .at_least(0);
  }
  double flops() const {
    return 2.0 * static_cast<double>(d_out.size()) * static_cast<double>(weight.dim(1));
  }
};

struct LinearBackwardWeights {
  static constexpr std::string_view name = "linear_backward_weights";
  static constexpr std::string_view summary =
      "d_weight = d_pre^T x; d_bias: the partial sums added up in order";
  Tensor d_weight, d_bias, x, d_pre, d_bias_partials;
  bool accumulate = false;

  template <class V>
  static void visit(V& v) {
    v.accumulates("d_weight", &LinearBackwardWeights::d_weight, "O C").float32();
    v.accumulates("d_bias", &LinearBackwardWeights::d_bias, "O").float32().when("d_bias_partials");
    v.reads("x", &LinearBackwardWeights::x, "N C").wide();
    v.reads("d_pre", &LinearBackwardWeights::d_pre, "N O").wide();
    v.reads("d_bias_partials", &LinearBackwardWeights::d_bias_partials, "P O").float32().optional();
    v.attribute("accumulate", &LinearBackwardWeights::accumulate,
                "add to the gradients instead of writing them");
  }
  double flops() const {
    return 2.0 * static_cast<double>(d_pre.size()) * static_cast<double>(x.dim(-1));
  }
};

}  // namespace msltx::ops
