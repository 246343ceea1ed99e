#include "msltx/model/feed_forward.h"

namespace msltx::model {

namespace {

using ops::Stream;

int64_t in_width(const GPTConfig& config) {
  return config.gated() ? 2 * config.ff_dim : config.ff_dim;
}

// As the product with `in` fuses it.
ops::Activation fused(Activation activation) {
  switch (activation) {
    case Activation::gelu_tanh:
      return ops::Activation::gelu_tanh;
    case Activation::gelu:
      return ops::Activation::gelu;
    case Activation::relu:
      return ops::Activation::relu;
    case Activation::silu:
      return ops::Activation::silu;
    case Activation::swiglu:
    case Activation::geglu:
      return ops::Activation::none;
  }
  return ops::Activation::none;
}

}  // namespace

void FeedForwardActivations::declare(TensorPlan& plan, const GPTConfig& config,
                                     const std::string& name, Life life) {
  const int64_t N = plan.rows(), F = config.ff_dim;
  plan.add(act, name + ".act", {N, F}, life);
  if (plan.for_backward() || config.gated()) {
    plan.add(pre, name + ".pre", {N, in_width(config)}, life);
  }
  if (!plan.for_backward()) return;
  if (!config.bias.feed_forward) return;
  plan.add_partials(d_in_bias, name + ".d_in_bias", in_width(config), life);
  plan.add_partials(d_out_bias, name + ".d_out_bias", config.embedding_dim, life);
}

FeedForwardActivations FeedForwardActivations::rows(const ops::Rows& r) const {
  return {cut(pre, r), cut(act, r), cut_partials(d_in_bias, r), cut_partials(d_out_bias, r)};
}

void FeedForwardGradients::declare(TensorPlan& plan, const GPTConfig& config, Life life) {
  plan.add(d_act, "d_act", {plan.rows(), config.ff_dim}, life);
}

FeedForward::FeedForward(const GPTConfig& config, Parameters& parameters, const std::string& name)
    : name_(name),
      activation_(config.activation),
      gated_(config.gated()),
      in_(parameters, name + ".in"),
      out_(parameters, name + ".out") {}

void FeedForward::forward(Stream& stream, const FeedForwardActivations& a, const Tensor& out,
                          const Tensor& x) const {
  Stream::Scope scope(stream, name_);
  if (!gated_) {
    in_.forward(stream, a.act, x, a.pre, fused(activation_));
  } else {
    in_.forward(stream, a.pre, x);
    if (activation_ == Activation::swiglu) {
      ops::swiglu_forward(stream, {a.act, gate(a.pre), up(a.pre)});
    } else {
      ops::geglu_forward(stream, {a.act, gate(a.pre), up(a.pre)});
    }
  }
  out_.forward(stream, out, a.act);
}

void FeedForward::backward_data(Stream& stream, const FeedForwardActivations& a,
                                const FeedForwardGradients& g, const Tensor& d_x,
                                const Tensor& d_out, int64_t chunk_rows) const {
  Stream::Scope scope(stream, name_);
  out_.backward_data(stream, g.d_act, a.d_out_bias, d_out, chunk_rows);
  if (!gated_) {
    in_.backward_data(stream, d_x, a.d_in_bias, g.d_act, chunk_rows, g.d_act, a.pre,
                      fused(activation_));
    return;
  }
  if (activation_ == Activation::swiglu) {
    ops::swiglu_backward(stream, {gate(a.pre), up(a.pre), g.d_act, gate(a.pre), up(a.pre)});
  } else {
    ops::geglu_backward(stream, {gate(a.pre), up(a.pre), g.d_act, gate(a.pre), up(a.pre)});
  }
  in_.backward_data(stream, d_x, a.d_in_bias, a.pre, chunk_rows);
}

void FeedForward::backward_weights(Stream& stream, const FeedForwardActivations& a,
                                   const FeedForwardGradients& g, const Tensor& x,
                                   const Tensor& d_out, bool accumulate) const {
  Stream::Scope scope(stream, name_);
  out_.backward_weights(stream, a.act, d_out, a.d_out_bias, accumulate);
  in_.backward_weights(stream, x, gated_ ? a.pre : g.d_act, a.d_in_bias, accumulate);
}

}  // namespace msltx::model
