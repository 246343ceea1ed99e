#include "msltx/model/self_attention.h"

#include "msltx/ops/ops.h"

namespace msltx::model {

using ops::Stream;

void AttentionActivations::declare(TensorPlan& plan, const GPTConfig& config,
                                   const std::string& name, Life life) {
  const int64_t N = plan.rows(), Q = config.qkv_dim();
  plan.add(qkv, name + ".qkv", {N, Q}, life);
  plan.add(mix, name + ".mix", {N, config.attention_dim()}, life);
  if (!plan.for_backward()) return;
  plan.add(lse, name + ".lse", DType::float32,
           {plan.shape().sequences, config.num_heads, plan.shape().length}, life);
  if (config.bias.qkv) plan.add_partials(d_qkv_bias, name + ".d_qkv_bias", Q, life);
  if (config.bias.attention_out) {
    plan.add_partials(d_out_bias, name + ".d_out_bias", config.embedding_dim, life);
  }
}

AttentionActivations AttentionActivations::rows(const ops::Rows& r) const {
  return {cut(qkv, r), cut(mix, r), lse.rows(r.first_sequence, r.sequences),
          cut_partials(d_qkv_bias, r), cut_partials(d_out_bias, r)};
}

void AttentionGradients::declare(TensorPlan& plan, const GPTConfig& config, Life life) {
  if (config.attention_dim() != config.embedding_dim) {
    plan.add(d_mix, "d_mix", {plan.rows(), config.attention_dim()}, life);
  }
  plan.add(d_qkv, "d_qkv", {plan.rows(), config.qkv_dim()}, life);
}

SelfAttention::SelfAttention(const GPTConfig& config, Parameters& parameters,
                             const std::string& name)
    : num_heads_(config.num_heads),
      num_kv_heads_(config.num_kv_heads),
      head_dim_(config.head_dim),
      scale_(static_cast<float>(config.attention_scale)),
      qkv_(parameters, name + ".qkv"),
      out_(parameters, name + ".out") {}

Tensor SelfAttention::heads(const Tensor& rows, int64_t sequences, int64_t first,
                            int64_t count) const {
  const int64_t length = rows.dim(0) / sequences, width = rows.stride(0);
  Tensor view = rows.slice(1, first * head_dim_, count * head_dim_);
  view.rank = 4;
  view.shape = {sequences, count, length, head_dim_};
  view.strides = {length * width, head_dim_, width, 1};
  return view;
}

SelfAttention::Views SelfAttention::views(const Tensor& qkv, int64_t sequences) const {
  return {heads(qkv, sequences, 0, num_heads_), heads(qkv, sequences, num_heads_, num_kv_heads_),
          heads(qkv, sequences, num_heads_ + num_kv_heads_, num_kv_heads_)};
}

void SelfAttention::forward(Stream& stream, const AttentionActivations& a, const Tensor& out,
                            const Tensor& x, int64_t sequences, const LayerCache* cache) const {
  qkv_.forward(stream, a.qkv, x);
  const auto [q, k, v] = views(a.qkv, sequences);
  const Tensor mix = heads(a.mix, sequences, 0, num_heads_);
  if (cache) {
    ops::kv_cache_append(stream, {cache->k, cache->v, k, v, cache->positions});
    ops::attention_inference(stream, {mix, q, cache->k, cache->v, cache->lengths, scale_});
  } else {
    ops::flash_attention_forward(stream, {mix, a.lse, q, k, v, scale_});
  }
  out_.forward(stream, out, a.mix);
}

void SelfAttention::backward_data(Stream& stream, const AttentionActivations& a,
                                  const AttentionGradients& g, const Tensor& d_x,
                                  const Tensor& d_out, int64_t sequences,
                                  int64_t chunk_rows) const {
  const Tensor& d_mix = g.d_mix.defined() ? g.d_mix : d_x;
  out_.backward_data(stream, d_mix, a.d_out_bias, d_out, chunk_rows);
  const auto [q, k, v] = views(a.qkv, sequences);
  const auto [d_q, d_k, d_v] = views(g.d_qkv, sequences);
  ops::flash_attention_backward(stream,
                                {d_q, d_k, d_v, heads(d_mix, sequences, 0, num_heads_),
                                 heads(a.mix, sequences, 0, num_heads_), a.lse, q, k, v, scale_});
  qkv_.backward_data(stream, d_x, a.d_qkv_bias, g.d_qkv, chunk_rows);
}

void SelfAttention::backward_weights(Stream& stream, const AttentionActivations& a,
                                     const AttentionGradients& g, const Tensor& x,
                                     const Tensor& d_out, bool accumulate) const {
  out_.backward_weights(stream, a.mix, d_out, a.d_out_bias, accumulate);
  qkv_.backward_weights(stream, x, g.d_qkv, a.d_qkv_bias, accumulate);
}

}  // namespace msltx::model
