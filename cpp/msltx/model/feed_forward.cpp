#include "msltx/model/feed_forward.h"

namespace msltx::model {

using ops::Stream;

void FeedForwardActivations::declare(TensorPlan& plan, const GPTConfig& config,
                                     const std::string& name, Life life) {
  const int64_t N = plan.rows(), F = config.ff_dim;
  plan.add(act, name + ".act", {N, F}, life);
  if (!plan.for_backward()) return;
  plan.add(pre, name + ".pre", {N, F}, life);
  if (!config.bias.feed_forward) return;
  plan.add_partials(d_in_bias, name + ".d_in_bias", F, life);
  plan.add_partials(d_out_bias, name + ".d_out_bias", config.embedding_dim, life);
}

FeedForwardActivations FeedForwardActivations::rows(const ops::Rows& r) const {
  return {cut(pre, r), cut(act, r), cut_partials(d_in_bias, r), cut_partials(d_out_bias, r)};
}

void FeedForwardGradients::declare(TensorPlan& plan, const GPTConfig& config, Life life) {
  plan.add(d_act, "d_act", {plan.rows(), config.ff_dim}, life);
}

FeedForward::FeedForward(const GPTConfig& config, Parameters& parameters, const std::string& name)
    : activation_(config.activation == Activation::gelu ? ops::Activation::gelu
                                                        : ops::Activation::gelu_tanh),
      in_(parameters, name + ".in"),
      out_(parameters, name + ".out") {}

void FeedForward::forward(Stream& stream, const FeedForwardActivations& a, const Tensor& out,
                          const Tensor& x) const {
  in_.forward(stream, a.act, x, a.pre, activation_);
  out_.forward(stream, out, a.act);
}

void FeedForward::backward_data(Stream& stream, const FeedForwardActivations& a,
                                const FeedForwardGradients& g, const Tensor& d_x,
                                const Tensor& d_out, int64_t chunk_rows) const {
  out_.backward_data(stream, g.d_act, a.d_out_bias, d_out, chunk_rows);
  in_.backward_data(stream, d_x, a.d_in_bias, g.d_act, chunk_rows, g.d_act, a.pre, activation_);
}

void FeedForward::backward_weights(Stream& stream, const FeedForwardActivations& a,
                                   const FeedForwardGradients& g, const Tensor& x,
                                   const Tensor& d_out, bool accumulate) const {
  out_.backward_weights(stream, a.act, d_out, a.d_out_bias, accumulate);
  in_.backward_weights(stream, x, g.d_act, a.d_in_bias, accumulate);
}

}  // namespace msltx::model
