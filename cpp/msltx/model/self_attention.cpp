#include "msltx/model/self_attention.h"

#include <cmath>
#include <span>

#include "msltx/model/rope.h"
#include "msltx/ops/ops.h"

namespace msltx::model {

using ops::Stream;

namespace {

// ALiBi (Press et al. 2022): 2^(-8 i / n) for n heads, n a power of two; for other counts those of
// the power of two below, then every second of the one above.
void fill_alibi_slopes(float* slopes, int64_t heads) {
  int64_t power = 1;
  while (2 * power <= heads) power *= 2;
  for (int64_t h = 0; h < heads; ++h) {
    const auto i = static_cast<double>(h < power ? h + 1 : 2 * (h - power) + 1);
    const auto n = static_cast<double>(h < power ? power : 2 * power);
    slopes[h] = static_cast<float>(std::exp2(-8 * i / n));
  }
}

int64_t window_of(const GPTConfig& config, int64_t layer) {
  const auto& pattern = config.sliding_window;
  return pattern.empty() ? 0 : pattern[static_cast<size_t>(layer) % pattern.size()];
}

}  // namespace

int64_t PositionTables::bytes(const GPTConfig& config) {
  const bool has_rope = config.positions.has(Position::rope);
  const bool has_alibi = config.positions.has(Position::alibi);
  const int64_t angles = has_rope ? config.context_length * config.head_dim : 0;
  const int64_t slopes = has_alibi ? config.num_heads : 0;
  return Arena::aligned(angles * size_of(DType::float32)) +
         Arena::aligned(slopes * size_of(DType::float32));
}

PositionTables::PositionTables(const GPTConfig& config) : arena_(bytes(config)) {
  if (config.positions.has(Position::rope)) {
    rope = arena_.allocate(DType::float32, {config.context_length, config.head_dim});
    fill_rope_table(config, std::span(rope.data(), static_cast<size_t>(rope.size())));
  }
  if (config.positions.has(Position::alibi)) {
    alibi_slopes = arena_.allocate(DType::float32, {config.num_heads});
    fill_alibi_slopes(alibi_slopes.data(), config.num_heads);
  }
}

void AttentionActivations::declare(TensorPlan& plan, const GPTConfig& config,
                                   const std::string& name, Life life) {
  const int64_t N = plan.rows(), Q = config.qkv_dim();
  plan.add(qkv, name + ".qkv", {N, Q}, life);
  if (config.qk_norm) {
    plan.add(qk, name + ".qk", {N, (config.num_heads + config.num_kv_heads) * config.head_dim},
             life);
  }
  plan.add(mix, name + ".mix", {N, config.attention_dim()}, life);
  if (!plan.for_backward()) return;
  plan.add(lse, name + ".lse", DType::float32,
           {plan.shape().sequences, config.num_heads, plan.shape().length}, life);
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
          lse.rows(r.first_sequence, r.sequences),
          cut_partials(d_qkv_bias, r),
          cut_partials(d_out_bias, r),
          cut_partials(d_q_norm, r),
          cut_partials(d_k_norm, r)};
}

void AttentionGradients::declare(TensorPlan& plan, const GPTConfig& config, Life life) {
  // The gradient of x is float32.
  if (config.attention_dim() != config.embedding_dim || plan.compute() != DType::float32) {
    plan.add(d_mix, "d_mix", {plan.rows(), config.attention_dim()}, life);
  }
  plan.add(d_qkv, "d_qkv", {plan.rows(), config.qkv_dim()}, life);
}

SelfAttention::SelfAttention(const GPTConfig& config, Parameters& parameters,
                             const std::string& name, int64_t layer, const PositionTables& tables)
    : name_(name),
      num_heads_(config.num_heads),
      num_kv_heads_(config.num_kv_heads),
      head_dim_(config.head_dim),
      scale_(static_cast<float>(config.attention_scale)),
      softcap_(static_cast<float>(config.attention_softcap)),
      norm_eps_(static_cast<float>(config.norm_eps)),
      window_(window_of(config, layer)),
      plus_one_(config.norm_plus_one),
      qkv_(parameters, name + ".qkv"),
      out_(parameters, name + ".out"),
      q_norm_(parameters.find(name + ".q_norm.weight")),
      k_norm_(parameters.find(name + ".k_norm.weight")),
      rope_(tables.rope),
      alibi_slopes_(tables.alibi_slopes),
      dropout_(config.dropout, name) {}

Tensor SelfAttention::heads(const Tensor& rows, int64_t sequences, int64_t first,
                            int64_t count) const {
  const int64_t length = rows.dim(0) / sequences, width = rows.stride(0);
  Tensor view = rows.slice(1, first * head_dim_, count * head_dim_);
  view.rank = 4;
  view.shape = {sequences, count, length, head_dim_};
  view.strides = {length * width, head_dim_, width, 1};
  return view;
}

SelfAttention::Views SelfAttention::views(const Tensor& qkv, const Tensor& qk,
                                          int64_t sequences) const {
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
  const auto [q, k, v] = views(a.qkv, a.qk, sequences);
  const Tensor mix = heads(a.mix, sequences, 0, num_heads_);
  if (cache) {
    ops::kv_cache_append(stream, {cache->k, cache->v, k, v, cache->positions});
    ops::attention_inference(
        stream,
        {mix, q, cache->k, cache->v, cache->lengths, scale_, window_, softcap_, {}, alibi_slopes_});
  } else {
    const Draw& draw = part.draw;
    ops::flash_attention_forward(stream, {.out = mix,
                                          .lse = a.lse,
                                          .q = q,
                                          .k = k,
                                          .v = v,
                                          .scale = scale_,
                                          .window = window_,
                                          .softcap = softcap_,
                                          .alibi_slopes = alibi_slopes_,
                                          .dropout = dropout_.rate(draw),
                                          .seed = dropout_.seed(draw),
                                          .step = draw.step,
                                          .first_sequence = draw.first_sequence});
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
  const auto [q, k, v] = views(a.qkv, a.qk, sequences);
  const auto [d_q, d_k, d_v] = views(g.d_qkv, {}, sequences);
  const Draw& draw = part.draw;
  ops::flash_attention_backward(stream, {.d_q = d_q,
                                         .d_k = d_k,
                                         .d_v = d_v,
                                         .d_out = heads(d_mix, sequences, 0, num_heads_),
                                         .forward_out = heads(a.mix, sequences, 0, num_heads_),
                                         .lse = a.lse,
                                         .q = q,
                                         .k = k,
                                         .v = v,
                                         .scale = scale_,
                                         .window = window_,
                                         .softcap = softcap_,
                                         .alibi_slopes = alibi_slopes_,
                                         .dropout = dropout_.rate(draw),
                                         .seed = dropout_.seed(draw),
                                         .step = draw.step,
                                         .first_sequence = draw.first_sequence});
  if (rope_.defined()) {
    const Tensor d_qk = heads(g.d_qkv, sequences, 0, num_heads_ + num_kv_heads_);
    ops::rope_backward(stream, {d_qk, d_qk, rope_, {}, ops::RopeLayout::half_split});
  }
  if (q_norm_) normalize_backward(stream, a, g.d_qkv, chunk_rows);
  qkv_.backward_data(stream, d_x, a.d_qkv_bias, g.d_qkv, chunk_rows);
}

void SelfAttention::backward_weights(Stream& stream, const AttentionActivations& a,
                                     const AttentionGradients& g, const Tensor& x,
                                     const Tensor& d_out, bool accumulate) const {
  Stream::Scope scope(stream, name_);
  out_.backward_weights(stream, a.mix, d_out, a.d_out_bias, accumulate);
  qkv_.backward_weights(stream, x, g.d_qkv, a.d_qkv_bias, accumulate);
  if (!q_norm_) return;
  normalize_weights(stream, *q_norm_, a.d_q_norm, accumulate);
  normalize_weights(stream, *k_norm_, a.d_k_norm, accumulate);
}

}  // namespace msltx::model
