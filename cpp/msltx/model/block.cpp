#include "msltx/model/block.h"

#include <string>

#include "msltx/base/error.h"
#include "msltx/ops/ops.h"

namespace msltx::model {

using ops::Stream;

Tensor head_view(const Tensor& rows, int64_t sequences, int64_t first, int64_t heads,
                 int64_t head_dim) {
  const int64_t length = rows.dim(0) / sequences, width = rows.stride(0);
  Tensor view = rows.slice(1, first, heads * head_dim);
  view.rank = 4;
  view.shape = {sequences, heads, length, head_dim};
  view.strides = {length * width, head_dim, width, 1};
  return view;
}

Block::Block(const GPTConfig& config, Parameters& parameters, int64_t layer)
    : pre_norm_(config.norm_placement == NormPlacement::pre),
      num_heads_(config.num_heads),
      num_kv_heads_(config.num_kv_heads),
      head_dim_(config.head_dim),
      eps_(static_cast<float>(config.norm_eps)),
      scale_(static_cast<float>(config.attention_scale)),
      activation_(config.activation == Activation::gelu ? ops::Activation::gelu
                                                        : ops::Activation::gelu_tanh) {
  const std::string prefix = concat("blocks.", layer, ".");
  const auto find = [&](const char* name) {
    return Linear{&parameters.at(prefix + name + ".weight"),
                  parameters.find(prefix + name + ".bias")};
  };
  norm1_ = find("norm1");
  qkv_ = find("attn.qkv");
  out_ = find("attn.out");
  norm2_ = find("norm2");
  in_ = find("ff.in");
  ff_ = find("ff.out");
}

void Block::add_and_normalize(Stream& stream, const NormActivations& a, const Linear& norm,
                              const Tensor& branch, const Tensor& residual) const {
  ops::residual_layernorm_forward(stream, {a.out, a.sum, a.mean, a.rstd, branch, residual,
                                           norm.weight->value, norm.bias_value(), eps_});
}

// Gives the input of the attention branch.
Tensor Block::enter(Stream& stream, const BlockActivations& a, const Residual& input) const {
  if (!pre_norm_) return input.stream;
  if (input.branch.defined()) {
    add_and_normalize(stream, a.norm1, norm1_, input.branch, input.stream);
  } else {
    ops::layernorm_forward(stream, {a.norm1.out, a.norm1.mean, a.norm1.rstd, input.stream,
                                    norm1_.weight->value, norm1_.bias_value(), eps_});
  }
  return a.norm1.out;
}

void Block::attention_in(Stream& stream, const BlockActivations& a, const Tensor& x) const {
  ops::linear_forward(stream, {a.qkv, {}, x, qkv_.weight->value, qkv_.bias_value()});
}

void Block::attend(Stream& stream, const BlockActivations& a, int64_t sequences) const {
  const int64_t q = num_heads_ * head_dim_, kv = num_kv_heads_ * head_dim_;
  ops::flash_attention_forward(
      stream, {head_view(a.mix, sequences, 0, num_heads_, head_dim_), a.lse,
               head_view(a.qkv, sequences, 0, num_heads_, head_dim_),
               head_view(a.qkv, sequences, q, num_kv_heads_, head_dim_),
               head_view(a.qkv, sequences, q + kv, num_kv_heads_, head_dim_), scale_});
}

void Block::feed_forward(Stream& stream, const BlockActivations& a, const Tensor& x) const {
  ops::linear_forward(stream, {a.act, a.pre, x, in_.weight->value, in_.bias_value(), activation_});
  ops::linear_forward(stream, {a.ff_out, {}, a.act, ff_.weight->value, ff_.bias_value()});
}

Residual Block::leave(Stream& stream, const BlockActivations& a, const Residual& input) const {
  ops::linear_forward(stream, {a.attention_out, {}, a.mix, out_.weight->value, out_.bias_value()});
  if (pre_norm_) {
    const Tensor& r0 = input.branch.defined() ? a.norm1.sum : input.stream;
    add_and_normalize(stream, a.norm2, norm2_, a.attention_out, r0);
    feed_forward(stream, a, a.norm2.out);
    return {a.norm2.sum, a.ff_out};
  }
  add_and_normalize(stream, a.norm1, norm1_, a.attention_out, input.stream);
  feed_forward(stream, a, a.norm1.out);
  add_and_normalize(stream, a.norm2, norm2_, a.ff_out, a.norm1.out);
  return {a.norm2.out, {}};
}

void Block::normalize_backward(Stream& stream, const Tensor& d_x, const NormActivations& a,
                               const Linear& norm, const Tensor& d_out, const Tensor& d_sum,
                               int64_t chunk_rows) const {
  ops::residual_layernorm_backward_data(
      stream, {d_x, a.d_gamma, norm.bias ? a.d_beta : Tensor{}, d_out, d_sum, a.sum,
               norm.weight->value, a.mean, a.rstd, eps_, chunk_rows});
}

void Block::feed_forward_backward(Stream& stream, const BlockActivations& a,
                                  const BlockGradients& g, const Tensor& d_out,
                                  int64_t chunk_rows) const {
  ops::linear_backward_data(
      stream,
      {g.d_act, {}, a.d_ff_bias, d_out, ff_.weight->value, {}, ops::Activation::none, chunk_rows});
  ops::linear_backward_data(stream, {g.d_branch, g.d_act, a.d_in_bias, g.d_act, in_.weight->value,
                                     a.pre, activation_, chunk_rows});
}

void Block::attention_backward(Stream& stream, const BlockActivations& a, const BlockGradients& g,
                               const Tensor& d_out, int64_t sequences, int64_t chunk_rows) const {
  const Tensor& d_mix = g.d_branch;
  ops::linear_backward_data(
      stream,
      {d_mix, {}, a.d_out_bias, d_out, out_.weight->value, {}, ops::Activation::none, chunk_rows});
  const int64_t q = num_heads_ * head_dim_, kv = num_kv_heads_ * head_dim_;
  const auto view = [&](const Tensor& rows, int64_t first, int64_t heads) {
    return head_view(rows, sequences, first, heads, head_dim_);
  };
  ops::flash_attention_backward(
      stream, {view(g.d_qkv, 0, num_heads_), view(g.d_qkv, q, num_kv_heads_),
               view(g.d_qkv, q + kv, num_kv_heads_), view(d_mix, 0, num_heads_),
               view(a.mix, 0, num_heads_), a.lse, view(a.qkv, 0, num_heads_),
               view(a.qkv, q, num_kv_heads_), view(a.qkv, q + kv, num_kv_heads_), scale_});
  ops::linear_backward_data(stream, {g.d_branch,
                                     {},
                                     a.d_qkv_bias,
                                     g.d_qkv,
                                     qkv_.weight->value,
                                     {},
                                     ops::Activation::none,
                                     chunk_rows});
}

void Block::backward_data(Stream& stream, const BlockActivations& a, const BlockGradients& g,
                          int64_t sequences, int64_t chunk_rows) const {
  if (pre_norm_) {
    feed_forward_backward(stream, a, g, g.d_output, chunk_rows);
    normalize_backward(stream, g.d_norm2_sum, a.norm2, norm2_, g.d_branch, g.d_output, chunk_rows);
    attention_backward(stream, a, g, g.d_norm2_sum, sequences, chunk_rows);
    normalize_backward(stream, g.d_input, a.norm1, norm1_, g.d_branch, g.d_norm2_sum, chunk_rows);
    return;
  }
  normalize_backward(stream, g.d_norm2_sum, a.norm2, norm2_, g.d_output, {}, chunk_rows);
  feed_forward_backward(stream, a, g, g.d_norm2_sum, chunk_rows);
  ops::residual_add_forward(stream, {g.d_branch, g.d_branch, g.d_norm2_sum});
  normalize_backward(stream, g.d_norm1_sum, a.norm1, norm1_, g.d_branch, {}, chunk_rows);
  attention_backward(stream, a, g, g.d_norm1_sum, sequences, chunk_rows);
  ops::residual_add_forward(stream, {g.d_input, g.d_branch, g.d_norm1_sum});
}

void Block::linear_weights(Stream& stream, const Linear& linear, const Tensor& x,
                           const Tensor& d_pre, const Tensor& d_bias_partials,
                           bool accumulate) const {
  ops::linear_backward_weights(
      stream, {linear.weight->grad, linear.bias_grad(), x, d_pre, d_bias_partials, accumulate});
}

void Block::norm_weights(Stream& stream, const Linear& norm, const NormActivations& a,
                         bool accumulate) const {
  ops::layernorm_backward_weights(stream, {norm.weight->grad, norm.bias_grad(), a.d_gamma,
                                           norm.bias ? a.d_beta : Tensor{}, accumulate});
}

void Block::backward_weights(Stream& stream, const BlockActivations& a, const BlockGradients& g,
                             const Residual& input, bool accumulate) const {
  const Tensor& attention_x = pre_norm_ ? a.norm1.out : input.stream;
  const Tensor& ff_x = pre_norm_ ? a.norm2.out : a.norm1.out;
  linear_weights(stream, ff_, a.act, pre_norm_ ? g.d_output : g.d_norm2_sum, a.d_ff_bias,
                 accumulate);
  linear_weights(stream, in_, ff_x, g.d_act, a.d_in_bias, accumulate);
  linear_weights(stream, out_, a.mix, pre_norm_ ? g.d_norm2_sum : g.d_norm1_sum, a.d_out_bias,
                 accumulate);
  linear_weights(stream, qkv_, attention_x, g.d_qkv, a.d_qkv_bias, accumulate);
  norm_weights(stream, norm2_, a.norm2, accumulate);
  norm_weights(stream, norm1_, a.norm1, accumulate);
}

}  // namespace msltx::model
