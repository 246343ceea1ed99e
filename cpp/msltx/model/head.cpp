#include "msltx/model/head.h"

namespace msltx::model {

using ops::Stream;

void HeadActivations::declare(TensorPlan& plan, const GPTConfig& config, Life life) {
  if (config.token_embedding_dim == config.embedding_dim) return;
  const int64_t N = plan.rows(), E = config.token_embedding_dim;
  plan.add(narrow, "head.narrow", {N, E}, life);
  if (plan.for_backward()) plan.add(d_narrow, "head.d_narrow", {N, E}, life);
}

Head::Head(const GPTConfig& config, Parameters& parameters)
    : projected_(config.token_embedding_dim != config.embedding_dim),
      softcap_(static_cast<float>(config.logit_softcap)),
      weight_(&parameters.at(config.tie_weights ? "embed.tokens.weight" : "head.weight")),
      bias_(parameters.find("head.bias")) {
  if (!projected_) return;
  project_weight_ = &parameters.at("head.project.weight");
  project_ = LinearLayer(parameters, "head.project");
}

Tensor Head::project(Stream& stream, const Tensor& hidden, const Tensor& narrow) const {
  if (!projected_) return hidden;
  project_.forward(stream, narrow, hidden);
  return narrow;
}

void Head::project_backward(Stream& stream, const HeadActivations& a, const Tensor& d_hidden,
                            const Tensor& hidden, bool accumulate) const {
  if (!projected_) return;
  project_.backward_data(stream, d_hidden, {}, a.d_narrow, 0);
  project_.backward_weights(stream, hidden, a.d_narrow, {}, accumulate);
}

void Head::logits(Stream& stream, const Tensor& out, const Tensor& hidden,
                  const Tensor& narrow) const {
  const Tensor x = project(stream, hidden, narrow);
  ops::linear_forward(stream, {out, {}, x, weight_->value, bias_value()});
  if (softcap_ > 0) ops::softcap_logits(stream, {out, out, softcap_});
}

void Head::loss(Stream& stream, const HeadActivations& a, const Tensor& loss, const Tensor& hidden,
                const Tensor& targets, LossSum sum) const {
  const Tensor x = project(stream, hidden, a.narrow);
  ops::linear_cross_entropy_forward(stream, {loss, x, weight_->value, targets, bias_value(),
                                             sum.ignore_index, sum.scale, softcap_});
}

void Head::loss_backward(Stream& stream, const HeadActivations& a, const Tensor& loss,
                         const Tensor& d_hidden, const Tensor& hidden, const Tensor& targets,
                         LossSum sum, bool accumulate) const {
  const Tensor x = project(stream, hidden, a.narrow);
  ops::linear_cross_entropy_forward_backward(
      stream,
      {loss, projected_ ? a.d_narrow : d_hidden, weight_->grad, bias_grad(), x, weight_->value,
       targets, bias_value(), sum.ignore_index, sum.scale, accumulate, softcap_});
  project_backward(stream, a, d_hidden, hidden, accumulate);
}

LogitsScratch Head::logits_scratch(int64_t rows) const {
  const int64_t V = weight_->spec.shape[0], capped = softcap_ > 0 ? rows : 0;
  LogitsScratch scratch{.arena = Arena(Arena::aligned(V * size_of(DType::float32)) +
                                       2 * Arena::aligned(capped * V * size_of(DType::float32)))};
  if (bias_) scratch.d_bias = scratch.arena.allocate(DType::float32, {1, V});
  if (capped > 0) {
    scratch.logits = scratch.arena.allocate(DType::float32, {rows, V});
    scratch.d_logits = scratch.arena.allocate(DType::float32, {rows, V});
  }
  return scratch;
}

void Head::logits_backward(Stream& stream, const HeadActivations& a, const LogitsScratch& scratch,
                           const Tensor& d_hidden, const Tensor& hidden, const Tensor& d_logits,
                           bool accumulate) const {
  const Tensor x = project(stream, hidden, a.narrow);
  Tensor d = d_logits;
  if (softcap_ > 0) {
    ops::linear_forward(stream, {scratch.logits, {}, x, weight_->value, bias_value()});
    ops::softcap_logits(stream, {scratch.logits, scratch.logits, softcap_});
    ops::softcap_logits_backward(stream, {scratch.d_logits, d_logits, scratch.logits, softcap_});
    d = scratch.d_logits;
  }
  ops::linear_backward_data(
      stream, {projected_ ? a.d_narrow : d_hidden, {}, scratch.d_bias, d, weight_->value});
  ops::linear_backward_weights(stream,
                               {weight_->grad, bias_grad(), x, d, scratch.d_bias, accumulate});
  project_backward(stream, a, d_hidden, hidden, accumulate);
}

void Head::zero_gradients(Stream& stream) const {
  for (const Parameter* p : {weight_, bias_, project_weight_}) {
    if (p) ops::zero(stream, {p->grad.reshape({p->grad.size()})});
  }
}

}  // namespace msltx::model
