// Layer normalization over the last axis, alone and fused with the residual addition before it.
// Ba, Kiros, Hinton: "Layer normalization", 2016.
#pragma once

#include "msltx/ops/op.h"

namespace msltx::ops {

struct LayernormForward {
  static constexpr std::string_view name = "layernorm_forward";
  static constexpr std::string_view summary =
      "out = (x - mean) * rstd * gamma + beta, rstd = 1 / sqrt(variance + eps), over the last axis";
  Tensor out, mean, rstd, x, gamma, beta;
  float eps = 1e-5f;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &LayernormForward::out, "N C").alias("x");
    v.writes("mean", &LayernormForward::mean, "N", "kept for the backward").float32().optional();
    v.writes("rstd", &LayernormForward::rstd, "N", "kept for the backward").float32().optional();
    v.reads("x", &LayernormForward::x, "N C").wide();
    v.reads("gamma", &LayernormForward::gamma, "C").float32();
    v.reads("beta", &LayernormForward::beta, "C").float32().optional();
    v.attribute("eps", &LayernormForward::eps, "added to the variance").at_least(0);
  }
  double flops() const { return 8.0 * static_cast<double>(x.size()); }
};

struct LayernormBackwardData {
  static constexpr std::string_view name = "layernorm_backward_data";
  static constexpr std::string_view summary =
      "d_x = rstd * (g - mean(g) - x_hat * mean(g * x_hat)), g = d_out * gamma, x_hat = (x - mean) "
      "* "
      "rstd; partial sums of d_out * x_hat and d_out for d_gamma and d_beta";
  Tensor d_x, d_gamma_partials, d_beta_partials, d_out, x, gamma, mean, rstd;
  float eps = 1e-5f;
  int64_t partial_rows = 0;

  template <class V>
  static void visit(V& v) {
    v.writes("d_x", &LayernormBackwardData::d_x, "N C").alias("d_out");
    v.writes("d_gamma_partials", &LayernormBackwardData::d_gamma_partials, "P C")
        .float32()
        .optional();
    v.writes("d_beta_partials", &LayernormBackwardData::d_beta_partials, "P C")
        .float32()
        .optional();
    v.reads("d_out", &LayernormBackwardData::d_out, "N C");
    v.reads("x", &LayernormBackwardData::x, "N C");
    v.reads("gamma", &LayernormBackwardData::gamma, "C").float32();
    v.reads("mean", &LayernormBackwardData::mean, "N", "of the forward; computed anew where absent")
        .float32()
        .optional();
    v.reads("rstd", &LayernormBackwardData::rstd, "N", "of the forward; computed anew where absent")
        .float32()
        .optional();
    v.attribute("eps", &LayernormBackwardData::eps, "added to the variance").at_least(0);
    v.attribute("partial_rows", &LayernormBackwardData::partial_rows,
                "rows per partial sum; 0: all of them in one")
        .at_least(0);
  }
  double flops() const { return 14.0 * static_cast<double>(x.size()); }
};

// The same sums whether the forward was layernorm or residual_layernorm.
struct LayernormBackwardWeights {
  static constexpr std::string_view name = "layernorm_backward_weights";
  static constexpr std::string_view summary =
      "d_gamma and d_beta: the partial sums added up in order";
  Tensor d_gamma, d_beta, d_gamma_partials, d_beta_partials;
  bool accumulate = false;

  template <class V>
  static void visit(V& v) {
    v.accumulates("d_gamma", &LayernormBackwardWeights::d_gamma, "C").float32();
    v.accumulates("d_beta", &LayernormBackwardWeights::d_beta, "C")
        .float32()
        .when("d_beta_partials");
    v.reads("d_gamma_partials", &LayernormBackwardWeights::d_gamma_partials, "P C").float32();
    v.reads("d_beta_partials", &LayernormBackwardWeights::d_beta_partials, "P C")
        .float32()
        .optional();
    v.attribute("accumulate", &LayernormBackwardWeights::accumulate,
                "add to the gradients instead of writing them");
  }
  double flops() const { return 2.0 * static_cast<double>(d_gamma_partials.size()); }
};

struct ResidualLayernormForward {
  static constexpr std::string_view name = "residual_layernorm_forward";
  static constexpr std::string_view summary = "sum = x + residual; out = layernorm(sum)";
  Tensor out, sum, mean, rstd, x, residual, gamma, beta;
  float eps = 1e-5f;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &ResidualLayernormForward::out, "N C").alias("x");
    v.writes("sum", &ResidualLayernormForward::sum, "N C").wide_like("x").alias("residual");
    v.writes("mean", &ResidualLayernormForward::mean, "N", "kept for the backward")
        .float32()
        .optional();
    v.writes("rstd", &ResidualLayernormForward::rstd, "N", "kept for the backward")
        .float32()
        .optional();
    v.reads("x", &ResidualLayernormForward::x, "N C").wide();
    v.reads("residual", &ResidualLayernormForward::residual, "N C").wide_like("x");
    v.reads("gamma", &ResidualLayernormForward::gamma, "C").float32();
    v.reads("beta", &ResidualLayernormForward::beta, "C").float32().optional();
    v.attribute("eps", &ResidualLayernormForward::eps, "added to the variance").at_least(0);
  }
  double flops() const { return 9.0 * static_cast<double>(x.size()); }
};

// Its weights' gradients: layernorm_backward_weights.
struct ResidualLayernormBackwardData {
  static constexpr std::string_view name = "residual_layernorm_backward_data";
  static constexpr std::string_view summary =
      "d_x = d_sum + layernorm_backward(d_out): the gradient of both x and residual";
  Tensor d_x, d_gamma_partials, d_beta_partials, d_out, d_sum, sum, gamma, mean, rstd;
  float eps = 1e-5f;
  int64_t partial_rows = 0;

  template <class V>
  static void visit(V& v) {
    v.writes("d_x", &ResidualLayernormBackwardData::d_x, "N C").alias("d_sum");
    v.writes("d_gamma_partials", &ResidualLayernormBackwardData::d_gamma_partials, "P C")
        .float32()
        .optional();
    v.writes("d_beta_partials", &ResidualLayernormBackwardData::d_beta_partials, "P C")
        .float32()
        .optional();
    v.reads("d_out", &ResidualLayernormBackwardData::d_out, "N C");
    v.reads("d_sum", &ResidualLayernormBackwardData::d_sum, "N C",
            "gradient of sum from elsewhere; zero where absent")
        .optional();
    v.reads("sum", &ResidualLayernormBackwardData::sum, "N C");
    v.reads("gamma", &ResidualLayernormBackwardData::gamma, "C").float32();
    v.reads("mean", &ResidualLayernormBackwardData::mean, "N",
            "of the forward; computed anew where absent")
        .float32()
        .optional();
    v.reads("rstd", &ResidualLayernormBackwardData::rstd, "N",
            "of the forward; computed anew where absent")
        .float32()
        .optional();
    v.attribute("eps", &ResidualLayernormBackwardData::eps, "added to the variance").at_least(0);
    v.attribute("partial_rows", &ResidualLayernormBackwardData::partial_rows,
                "rows per partial sum; 0: all of them in one")
        .at_least(0);
  }
  double flops() const { return 15.0 * static_cast<double>(sum.size()); }
};

}  // namespace msltx::ops
