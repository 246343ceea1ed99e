// Root mean square normalization over the last axis, alone and fused with the residual addition
// before it. Zhang, Sennrich: "Root mean square layer normalization", 2019.
#pragma once

#include "msltx/ops/op.h"

namespace msltx::ops {

struct RmsnormForward {
  static constexpr std::string_view name = "rmsnorm_forward";
  static constexpr std::string_view summary =
      "out = x * rstd * gamma, rstd = 1 / sqrt(mean(x^2) + eps), over the last axis";
  Tensor out, rstd, x, gamma;
  float eps = 1e-5f;
  bool plus_one = false;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &RmsnormForward::out, "N C").alias("x");
    v.writes("rstd", &RmsnormForward::rstd, "N", "kept for the backward").float32().optional();
    v.reads("x", &RmsnormForward::x, "N C").wide();
    v.reads("gamma", &RmsnormForward::gamma, "C").float32();
    v.attribute("eps", &RmsnormForward::eps, "added to the mean square").at_least(0);
    v.attribute("plus_one", &RmsnormForward::plus_one, "1 + gamma in the place of gamma");
  }
  double flops() const { return 5.0 * static_cast<double>(x.size()); }
};

struct RmsnormBackwardData {
  static constexpr std::string_view name = "rmsnorm_backward_data";
  static constexpr std::string_view summary =
      "d_x = rstd * (g - x_hat * mean(g * x_hat)), g = d_out * gamma, x_hat = x * rstd; partial "
      "sums of d_out * x_hat for d_gamma";
  Tensor d_x, d_gamma_partials, d_out, x, gamma, rstd;
  float eps = 1e-5f;
  bool plus_one = false;
  int64_t partial_rows = 0;

  template <class V>
  static void visit(V& v) {
    v.writes("d_x", &RmsnormBackwardData::d_x, "N C").alias("d_out");
    v.writes("d_gamma_partials", &RmsnormBackwardData::d_gamma_partials, "P C")
        .float32()
        .optional();
    v.reads("d_out", &RmsnormBackwardData::d_out, "N C");
    v.reads("x", &RmsnormBackwardData::x, "N C");
    v.reads("gamma", &RmsnormBackwardData::gamma, "C").float32();
    v.reads("rstd", &RmsnormBackwardData::rstd, "N", "of the forward; computed anew where absent")
        .float32()
        .optional();
    v.attribute("eps", &RmsnormBackwardData::eps, "added to the mean square").at_least(0);
    v.attribute("plus_one", &RmsnormBackwardData::plus_one, "1 + gamma in the place of gamma");
    v.attribute("partial_rows", &RmsnormBackwardData::partial_rows,
                "rows per partial sum; 0: all of them in one")
        .at_least(0);
  }
  double flops() const { return 10.0 * static_cast<double>(x.size()); }
};

// The same sums whether the forward was rmsnorm or residual_rmsnorm.
struct RmsnormBackwardWeights {
  static constexpr std::string_view name = "rmsnorm_backward_weights";
  static constexpr std::string_view summary = "d_gamma: the partial sums added up in order";
  Tensor d_gamma, d_gamma_partials;
  bool accumulate = false;

  template <class V>
  static void visit(V& v) {
    v.accumulates("d_gamma", &RmsnormBackwardWeights::d_gamma, "C").float32();
    v.reads("d_gamma_partials", &RmsnormBackwardWeights::d_gamma_partials, "P C").float32();
    v.attribute("accumulate", &RmsnormBackwardWeights::accumulate,
                "add to the gradient instead of writing it");
  }
  double flops() const { return static_cast<double>(d_gamma_partials.size()); }
};

struct ResidualRmsnormForward {
  static constexpr std::string_view name = "residual_rmsnorm_forward";
  static constexpr std::string_view summary = "sum = x + residual; out = rmsnorm(sum)";
  Tensor out, sum, rstd, x, residual, gamma;
  float eps = 1e-5f;
  bool plus_one = false;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &ResidualRmsnormForward::out, "N C").alias("x");
    v.writes("sum", &ResidualRmsnormForward::sum, "N C").wide_like("x").alias("residual");
    v.writes("rstd", &ResidualRmsnormForward::rstd, "N", "kept for the backward")
        .float32()
        .optional();
    v.reads("x", &ResidualRmsnormForward::x, "N C").wide();
    v.reads("residual", &ResidualRmsnormForward::residual, "N C").wide_like("x");
    v.reads("gamma", &ResidualRmsnormForward::gamma, "C").float32();
    v.attribute("eps", &ResidualRmsnormForward::eps, "added to the mean square").at_least(0);
    v.attribute("plus_one", &ResidualRmsnormForward::plus_one, "1 + gamma in the place of gamma");
  }
  double flops() const { return 6.0 * static_cast<double>(x.size()); }
};

// Its weight's gradient: rmsnorm_backward_weights.
struct ResidualRmsnormBackwardData {
  static constexpr std::string_view name = "residual_rmsnorm_backward_data";
  static constexpr std::string_view summary =
      "d_x = d_sum + rmsnorm_backward(d_out): the gradient of both x and residual";
  Tensor d_x, d_gamma_partials, d_out, d_sum, sum, gamma, rstd;
  float eps = 1e-5f;
  bool plus_one = false;
  int64_t partial_rows = 0;

  template <class V>
  static void visit(V& v) {
    using Op = ResidualRmsnormBackwardData;
    v.writes("d_x", &Op::d_x, "N C").alias("d_sum");
    v.writes("d_gamma_partials", &Op::d_gamma_partials, "P C").float32().optional();
    v.reads("d_out", &Op::d_out, "N C");
    v.reads("d_sum", &Op::d_sum, "N C", "gradient of sum from elsewhere; zero where absent")
        .optional();
    v.reads("sum", &Op::sum, "N C");
    v.reads("gamma", &Op::gamma, "C").float32();
    v.reads("rstd", &Op::rstd, "N", "of the forward; computed anew where absent")
        .float32()
        .optional();
    v.attribute("eps", &Op::eps, "added to the mean square").at_least(0);
    v.attribute("plus_one", &Op::plus_one, "1 + gamma in the place of gamma");
    v.attribute("partial_rows", &Op::partial_rows, "rows per partial sum; 0: all of them in one")
        .at_least(0);
  }
  double flops() const { return 11.0 * static_cast<double>(sum.size()); }
};

}  // namespace msltx::ops
