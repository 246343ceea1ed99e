#include "msltx/model/self_attention.h"

#include "msltx/ops/ops.h"

namespace msltx::model {

using ops::Stream;

void AttentionActivations::declare(TensorPlan& plan, const GPTConfig& config,
                                   const std::string& name, Life life) {
  const int64_t N = plan.rows(), Q = config.qkv_dim();
  plan.add(qkv, name + ".qkv", {N, Q}, life);
  if (config.qk_norm) {
    plan.add(qk, name + ".qk", {N, (config.num_heads + config.num_kv_heads) * config.head_dim},
             life);
  }
  plan.add(mix, name + ".mix", {N, config.attention_dim()}, life);
  core.declare(plan, config, name, life);
  if (!plan.for_backward()) return;
  if (config.bias.qkv) plan.add_partials(d_qkv_bias, name + ".d_qkv_bias", Q, life);
  if (config.qk_norm) {
    plan.add_partials(d_q_norm, name + ".d_q_norm", config.num_heads * config.head_dim, life);
    plan.add_partials(d_k_norm, name + ".d_k_norm", config.num_kv_heads * config.head_dim, life);
  }
  if (config.bias.attention_out) {
    plan.add_partials(d_out_bias, name + ".d_out_bias", config.embedding_dim, life);
  }
}

AttentionActivations AttentionActivations::rows(const ops::Rows& r) const {
  return {cut(qkv, r),
          cut(qk, r),
          cut(mix, r),
          core.rows(r),
          cut_partials(d_qkv_bias, r),
          cut_partials(d_out_bias, r),
          cut_partials(d_q_norm, r),
          cut_partials(d_k_norm, r)};
}

void AttentionGradients::declare(TensorPlan& plan, const GPTConfig& config, Life life) {
  // The gradient of x is float32, and written before the weights' backward.
  if (config.attention_dim() != config.embedding_dim || plan.compute() != DType::float32 ||
      AttentionCore::keeps_d_mix(config, plan.shape().length)) {
    plan.add(d_mix, "d_mix", {plan.rows(), config.attention_dim()}, life);
  }
  core.declare(plan, config, life);
  plan.add(d_qkv, "d_qkv", {plan.rows(), config.qkv_dim()}, life);
}

SelfAttention::SelfAttention(const GPTConfig& config, Parameters& parameters,
                             const std::string& name, int64_t layer, const PositionTables& tables)
    : name_(name),
      distances_name_(name + ".relative"),
      num_heads_(config.num_heads),
      num_kv_heads_(config.num_kv_heads),
      head_dim_(config.head_dim),
      norm_eps_(static_cast<float>(config.norm_eps)),
      plus_one_(config.norm_plus_one),
      qkv_(parameters, name + ".qkv"),
      out_(parameters, name + ".out"),
      q_norm_(parameters.find(name + ".q_norm.weight")),
      k_norm_(parameters.find(name + ".k_norm.weight")),
      rope_(tables.rope),
      core_(config, parameters, name, layer, tables) {}

Tensor SelfAttention::heads(const Tensor& rows, int64_t sequences, int64_t first,
                            int64_t count) const {
  const int64_t length = rows.dim(0) / sequences, width = rows.stride(0);
  Tensor view = rows.slice(1, first * head_dim_, count * head_dim_);
  view.rank = 4;
  view.shape = {sequences, count, length, head_dim_};
  view.strides = {length * width, head_dim_, width, 1};
  return view;
}

Heads SelfAttention::views(const Tensor& qkv, const Tensor& qk, int64_t sequences) const {
  const Tensor& from = qk.defined() ? qk : qkv;
  return {heads(from, sequences, 0, num_heads_), heads(from, sequences, num_heads_, num_kv_heads_),
          heads(qkv, sequences, num_heads_ + num_kv_heads_, num_kv_heads_)};
}

// Head by head: the rows of one are a matrix whose stride is that of qkv.
void SelfAttention::normalize(Stream& stream, const AttentionActivations& a) const {
  for (int64_t h = 0; h < num_heads_ + num_kv_heads_; ++h) {
    const Tensor& weight = (is_query(h) ? q_norm_ : k_norm_)->value;
    ops::rmsnorm_forward(stream, {head(a.qk, h), {}, head(a.qkv, h), weight, norm_eps_, plus_one_});
  }
}

// In place: d_qkv holds the gradients of what was normalized, then of what went in.
void SelfAttention::normalize_backward(Stream& stream, const AttentionActivations& a,
                                       const Tensor& d_qkv, int64_t chunk_rows) const {
  for (int64_t h = 0; h < num_heads_ + num_kv_heads_; ++h) {
    const Tensor d = head(d_qkv, h);
    const Tensor partials = is_query(h) ? head(a.d_q_norm, h) : head(a.d_k_norm, h - num_heads_);
    const Tensor& weight = (is_query(h) ? q_norm_ : k_norm_)->value;
    ops::rmsnorm_backward_data(
        stream, {d, partials, d, head(a.qkv, h), weight, {}, norm_eps_, plus_one_, chunk_rows});
  }
}

// The partial sums of all heads are as many sums for the one weight they share.
void SelfAttention::normalize_weights(Stream& stream, const Parameter& norm, const Tensor& partials,
                                      bool accumulate) const {
  const Tensor rows = partials.reshape({partials.size() / head_dim_, head_dim_});
  ops::rmsnorm_backward_weights(stream, {norm.grad, rows, accumulate});
}

void SelfAttention::forward(Stream& stream, const AttentionActivations& a, const Tensor& out,
                            const Tensor& x, const BatchPart& part, const LayerCache* cache) const {
  Stream::Scope scope(stream, name_);
  const int64_t sequences = part.sequences;
  qkv_.forward(stream, a.qkv, x);
  if (q_norm_) normalize(stream, a);
  if (rope_.defined()) {
    const Tensor qk =
        heads(a.qk.defined() ? a.qk : a.qkv, sequences, 0, num_heads_ + num_kv_heads_);
    ops::rope_forward(
        stream, {qk, qk, rope_, cache ? cache->positions : Tensor{}, ops::RopeLayout::half_split});
  }
  const Heads x_heads = views(a.qkv, a.qk, sequences);
  const Tensor mix = heads(a.mix, sequences, 0, num_heads_);
  if (cache) {
    core_.forward_cached(stream, mix, x_heads, *cache);
  } else {
    core_.forward(stream, a.core, mix, x_heads, part);
  }
  out_.forward(stream, out, a.mix);
}

void SelfAttention::backward_data(Stream& stream, const AttentionActivations& a,
                                  const AttentionGradients& g, const Tensor& d_x,
                                  const Tensor& d_out, const BatchPart& part,
                                  int64_t chunk_rows) const {
  Stream::Scope scope(stream, name_);
  const int64_t sequences = part.sequences;
  const Tensor& d_mix = g.d_mix.defined() ? g.d_mix : d_x;
  out_.backward_data(stream, d_mix, a.d_out_bias, d_out, chunk_rows);
  core_.backward_data(stream, a.core, g.core, views(g.d_qkv, {}, sequences),
                      heads(d_mix, sequences, 0, num_heads_),
                      heads(a.mix, sequences, 0, num_heads_), views(a.qkv, a.qk, sequences), part);
  if (rope_.defined()) {
    const Tensor d_qk = heads(g.d_qkv, sequences, 0, num_heads_ + num_kv_heads_);
    ops::rope_backward(stream, {d_qk, d_qk, rope_, {}, ops::RopeLayout::half_split});
  }
  if (q_norm_) normalize_backward(stream, a, g.d_qkv, chunk_rows);
  qkv_.backward_data(stream, d_x, a.d_qkv_bias, g.d_qkv, chunk_rows);
}

void SelfAttention::backward_weights(Stream& stream, const AttentionActivations& a,
                                     const AttentionGradients& g, const Tensor& x,
                                     const Tensor& d_out, const BatchPart& part,
                                     bool accumulate) const {
  Stream::Scope scope(stream, name_);
  out_.backward_weights(stream, a.mix, d_out, a.d_out_bias, accumulate);
  qkv_.backward_weights(stream, x, g.d_qkv, a.d_qkv_bias, accumulate);
  const Tensor d_mix = g.d_mix.defined() ? heads(g.d_mix, part.sequences, 0, num_heads_) : Tensor{};
  core_.backward_weights(stream, a.core, g.core, d_mix, heads(a.mix, part.sequences, 0, num_heads_),
                         views(a.qkv, a.qk, part.sequences), part, accumulate);
  if (!q_norm_) return;
  normalize_weights(stream, *q_norm_, a.d_q_norm, accumulate);
  normalize_weights(stream, *k_norm_, a.d_k_norm, accumulate);
}

}  // namespace msltx::model
