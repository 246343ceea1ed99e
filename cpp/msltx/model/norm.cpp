#include "msltx/model/norm.h"

#include "msltx/ops/ops.h"

namespace msltx::model {

using ops::Stream;

void NormActivations::declare(TensorPlan& plan, const GPTConfig& config, const std::string& name,
                              Life life, bool with_in, NormOut kind) {
  const int64_t N = plan.rows(), C = config.embedding_dim;
  if (with_in) plan.add_float32(in, name + ".in", {N, C}, life);
  if (kind == NormOut::for_layer) plan.add(out, name + ".out", {N, C}, life);
  if (kind == NormOut::stream) plan.add_float32(out, name + ".out", {N, C}, life);
  if (!plan.for_backward()) return;
  if (config.norm == Norm::layernorm) plan.add(mean, name + ".mean", DType::float32, {N}, life);
  plan.add(rstd, name + ".rstd", DType::float32, {N}, life);
  plan.add_partials(d_weight, name + ".d_weight", C, life);
  if (config.bias.norm) plan.add_partials(d_bias, name + ".d_bias", C, life);
}

NormActivations NormActivations::rows(const ops::Rows& r) const {
  return {cut(in, r),
          cut(out, r),
          cut(mean, r),
          cut(rstd, r),
          cut_partials(d_weight, r),
          cut_partials(d_bias, r)};
}

NormLayer::NormLayer(const GPTConfig& config, Parameters& parameters, const std::string& name)
    : name_(name),
      kind_(config.norm),
      eps_(static_cast<float>(config.norm_eps)),
      plus_one_(config.norm_plus_one),
      weight_(&parameters.at(name + ".weight")),
      bias_(parameters.find(name + ".bias")) {}

void NormLayer::forward(Stream& stream, const NormActivations& a, const Tensor& x) const {
  Stream::Scope scope(stream, name_);
  if (kind_ == Norm::rmsnorm) {
    ops::rmsnorm_forward(stream, {a.out, a.rstd, x, weight_->value, eps_, plus_one_});
  } else {
    ops::layernorm_forward(stream, {a.out, a.mean, a.rstd, x, weight_->value, bias_value(), eps_});
  }
}

void NormLayer::add_forward(Stream& stream, const NormActivations& a, const Tensor& branch,
                            const Tensor& residual) const {
  Stream::Scope scope(stream, name_);
  if (kind_ == Norm::rmsnorm) {
    ops::residual_rmsnorm_forward(
        stream, {a.out, a.in, a.rstd, branch, residual, weight_->value, eps_, plus_one_});
  } else {
    ops::residual_layernorm_forward(stream, {a.out, a.in, a.mean, a.rstd, branch, residual,
                                             weight_->value, bias_value(), eps_});
  }
}

void NormLayer::backward_data(Stream& stream, const NormActivations& a, const Tensor& d_x,
                              const Tensor& d_out, const Tensor& d_residual,
                              int64_t chunk_rows) const {
  Stream::Scope scope(stream, name_);
  if (kind_ == Norm::rmsnorm) {
    ops::residual_rmsnorm_backward_data(
        stream, {d_x, a.d_weight, d_out, d_residual, a.in, weight_->value, a.rstd, eps_, plus_one_,
                 chunk_rows});
  } else {
    ops::residual_layernorm_backward_data(
        stream, {d_x, a.d_weight, a.d_bias, d_out, d_residual, a.in, weight_->value, a.mean, a.rstd,
                 eps_, chunk_rows});
  }
}

void NormLayer::backward_weights(Stream& stream, const NormActivations& a, bool accumulate) const {
  Stream::Scope scope(stream, name_);
  if (kind_ == Norm::rmsnorm) {
    ops::rmsnorm_backward_weights(stream, {weight_->grad, a.d_weight, accumulate});
  } else {
    ops::layernorm_backward_weights(
        stream, {weight_->grad, bias_ ? bias_->grad : Tensor{}, a.d_weight, a.d_bias, accumulate});
  }
}

}  // namespace msltx::model
