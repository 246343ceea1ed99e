#include "msltx/model/attention_core.h"

#include "msltx/ops/ops.h"

namespace msltx::model {

using ops::Stream;

namespace {

// Sequences shorter than this run in parts where `attention` is auto. None do: training steps took
// the same time either way up to 256 tokens, and from 512 on 1.0 to 1.4 times as long in parts
// (heads of 32 and 64, both of two Zen 4 cores), which keep T x T probabilities of every head
// besides.
constexpr int64_t kFusedFrom = 0;

int64_t window_of(const GPTConfig& config, int64_t layer) {
  const auto& pattern = config.sliding_window;
  return pattern.empty() ? 0 : pattern[static_cast<size_t>(layer) % pattern.size()];
}

Tensor as_rows(const Tensor& scores) {
  return scores.reshape({scores.size() / scores.dim(-1), scores.dim(-1)});
}

}  // namespace

bool AttentionCore::in_parts(const GPTConfig& config, int64_t length) {
  if (config.positions.has(Position::relative_xl)) return true;
  if (config.attention == Attention::automatic) return length < kFusedFrom;
  return config.attention == Attention::plain;
}

void CoreActivations::declare(TensorPlan& plan, const GPTConfig& config, const std::string& name,
                              Life life) {
  const int64_t B = plan.shape().sequences, T = plan.shape().length, nh = config.num_heads;
  if (AttentionCore::in_parts(config, T)) {
    plan.add(probabilities, name + ".probabilities", {B, nh, T, T}, life);
  } else if (plan.for_backward()) {
    plan.add(lse, name + ".lse", DType::float32, {B, nh, T}, life);
  }
}

CoreActivations CoreActivations::rows(const ops::Rows& r) const {
  return {lse.rows(r.first_sequence, r.sequences),
          probabilities.rows(r.first_sequence, r.sequences), bias, distances};
}

void CoreGradients::declare(TensorPlan& plan, const GPTConfig& config, Life life) {
  const int64_t B = plan.shape().sequences, T = plan.shape().length, nh = config.num_heads;
  if (AttentionCore::in_parts(config, T)) plan.add(d_scores, "d_scores", {B, nh, T, T}, life);
  if (config.positions.has(Position::relative_xl)) {
    plan.add_float32(d_distances, "d_distances", {T, config.attention_dim()}, life);
  }
}

CoreGradients CoreGradients::rows(const ops::Rows& r) const {
  return {d_scores.rows(r.first_sequence, r.sequences), d_bias, d_distances};
}

AttentionCore::AttentionCore(const GPTConfig& config, Parameters& parameters,
                             const std::string& name, int64_t layer, const PositionTables& tables)
    : num_heads_(config.num_heads),
      head_dim_(config.head_dim),
      scale_(static_cast<float>(config.attention_scale)),
      softcap_(static_cast<float>(config.attention_softcap)),
      window_(window_of(config, layer)),
      last_(layer == config.num_layers - 1),
      alibi_slopes_(tables.alibi_slopes),
      dropout_(config.dropout, name),
      encodings_(tables.distances),
      content_bias_(parameters.find(name + ".relative.content_bias")),
      position_bias_(parameters.find(name + ".relative.position_bias")) {
  if (is_relative()) relative_ = LinearLayer(parameters, name + ".relative");
}

Tensor AttentionCore::by_head(const Tensor& distances) const {
  Tensor view = distances;
  view.rank = 3;
  view.shape = {num_heads_, distances.dim(0), head_dim_};
  view.strides = {head_dim_, distances.stride(0), 1};
  return view;
}

void AttentionCore::encode_distances(Stream& stream, const Tensor& out) const {
  if (is_relative()) relative_.forward(stream, out, encodings_.rows(0, out.dim(0)));
}

template <class Op>
Op AttentionCore::scored(Op op, const Tensor& document_starts) const {
  op.window = window_;
  op.document_starts = document_starts;
  if constexpr (requires { op.scale; }) op.scale = scale_;
  if constexpr (requires { op.softcap; }) op.softcap = softcap_;
  if constexpr (requires { op.alibi_slopes; }) op.alibi_slopes = alibi_slopes_;
  return op;
}

template <class Op>
Op AttentionCore::dropped(Op op, const Draw& draw) const {
  op.dropout = dropout_.rate(draw);
  op.seed = dropout_.seed(draw);
  op.step = draw.step;
  op.first_sequence = draw.first_sequence;
  return op;
}

void AttentionCore::scores_forward(Stream& stream, const Tensor& scores, const Heads& x,
                                   const Tensor& distances, const Tensor& bias,
                                   const Tensor& document_starts) const {
  if (is_relative()) {
    const ops::RelativeAttentionScoresForward op{.out = scores,
                                                 .q = x.q,
                                                 .k = x.k,
                                                 .r = by_head(distances),
                                                 .content_bias = content_bias_->value,
                                                 .position_bias = position_bias_->value};
    ops::relative_attention_scores_forward(stream, scored(op, document_starts));
  } else {
    const ops::AttentionScoresForward op{.out = scores, .q = x.q, .k = x.k, .bias = bias};
    ops::attention_scores_forward(stream, scored(op, document_starts));
  }
}

void AttentionCore::mix_scores(Stream& stream, const Tensor& scores, const Tensor& mix,
                               const Tensor& v, const BatchPart& part) const {
  ops::softmax_forward(stream, {as_rows(scores), as_rows(scores)});
  const ops::AttentionMixForward op{.out = mix, .probabilities = scores, .v = v};
  ops::attention_mix_forward(stream, dropped(op, part.draw));
}

void AttentionCore::forward(Stream& stream, const CoreActivations& a, const Tensor& mix,
                            const Heads& x, const BatchPart& part) const {
  if (a.probabilities.defined()) {
    scores_forward(stream, a.probabilities, x, a.distances, a.bias, part.document_starts);
    return mix_scores(stream, a.probabilities, mix, x.v, part);
  }
  const ops::FlashAttentionForward op{
      .out = mix, .lse = a.lse, .q = x.q, .k = x.k, .v = x.v, .bias = a.bias};
  ops::flash_attention_forward(stream, dropped(scored(op, part.document_starts), part.draw));
}

void AttentionCore::forward_cached(Stream& stream, const Tensor& mix, const Heads& x,
                                   const LayerCache& cache) const {
  ops::kv_cache_append(stream, {cache.k, cache.v, x.k, x.v, cache.positions});
  if (!is_relative()) {
    ops::attention_inference(stream, {mix, x.q, cache.k, cache.v, cache.lengths, scale_, window_,
                                      softcap_, cache.relative_bias, alibi_slopes_});
    return;
  }
  const int64_t B = x.q.dim(0), T = x.q.dim(2), S = cache.length;
  const Tensor scores =
      cache.scores.slice(0, 0, B * num_heads_ * T * S).reshape({B, num_heads_, T, S});
  const Heads seen{x.q, cache.k.slice(2, 0, S), cache.v.slice(2, 0, S)};
  scores_forward(stream, scores, seen, cache.distances.rows(0, S), {}, {});
  mix_scores(stream, scores, mix, seen.v, {.sequences = B});
}

void AttentionCore::backward_data(Stream& stream, const CoreActivations& a, const CoreGradients& g,
                                  const Heads& d, const Tensor& d_mix, const Tensor& mix,
                                  const Heads& x, const BatchPart& part) const {
  const Tensor& starts = part.document_starts;
  if (!a.probabilities.defined()) {
    const ops::FlashAttentionBackward op{.d_q = d.q,
                                         .d_k = d.k,
                                         .d_v = d.v,
                                         .d_out = d_mix,
                                         .forward_out = mix,
                                         .lse = a.lse,
                                         .q = x.q,
                                         .k = x.k,
                                         .v = x.v,
                                         .bias = a.bias};
    ops::flash_attention_backward(stream, dropped(scored(op, starts), part.draw));
    return;
  }
  const ops::AttentionMixBackward of_mix{.d_probabilities = g.d_scores,
                                         .d_v = d.v,
                                         .d_out = d_mix,
                                         .probabilities = a.probabilities,
                                         .v = x.v};
  ops::attention_mix_backward(stream, dropped(of_mix, part.draw));
  const Tensor d_scores = as_rows(g.d_scores);
  ops::softmax_backward(stream, {d_scores, d_scores, as_rows(a.probabilities)});
  if (is_relative()) {
    const ops::RelativeAttentionScoresBackwardData op{.d_q = d.q,
                                                      .d_k = d.k,
                                                      .d_out = g.d_scores,
                                                      .q = x.q,
                                                      .k = x.k,
                                                      .r = by_head(a.distances),
                                                      .content_bias = content_bias_->value,
                                                      .position_bias = position_bias_->value};
    ops::relative_attention_scores_backward_data(stream, scored(op, starts));
  } else {
    const ops::AttentionScoresBackward op{
        .d_q = d.q, .d_k = d.k, .d_out = g.d_scores, .q = x.q, .k = x.k};
    ops::attention_scores_backward(stream, scored(op, starts));
  }
}

void AttentionCore::backward_weights(Stream& stream, const CoreActivations& a,
                                     const CoreGradients& g, const Tensor& d_mix, const Tensor& mix,
                                     const Heads& x, const BatchPart& part, bool accumulate) const {
  const Tensor& starts = part.document_starts;
  if (is_relative()) {
    // What is added to are the biases; the distances' gradient is this block's alone.
    if (accumulate) ops::zero(stream, {g.d_distances.reshape({g.d_distances.size()})});
    const ops::RelativeAttentionScoresBackwardWeights op{.d_r = by_head(g.d_distances),
                                                         .d_content_bias = content_bias_->grad,
                                                         .d_position_bias = position_bias_->grad,
                                                         .d_out = g.d_scores,
                                                         .q = x.q,
                                                         .k = x.k,
                                                         .r = by_head(a.distances),
                                                         .content_bias = content_bias_->value,
                                                         .position_bias = position_bias_->value,
                                                         .accumulate = accumulate};
    ops::relative_attention_scores_backward_weights(stream, scored(op, starts));
    relative_.backward_weights(stream, encodings_.rows(0, g.d_distances.dim(0)), g.d_distances, {},
                               accumulate);
  }
  if (!g.d_bias.defined()) return;
  if (a.probabilities.defined()) {
    const ops::AttentionScoresBackwardBias op{
        .d_bias = g.d_bias, .d_out = g.d_scores, .accumulate = !last_};
    ops::attention_scores_backward_bias(stream, scored(op, starts));
    return;
  }
  const ops::FlashAttentionBackwardBias op{.d_bias = g.d_bias,
                                           .d_out = d_mix,
                                           .forward_out = mix,
                                           .lse = a.lse,
                                           .q = x.q,
                                           .k = x.k,
                                           .v = x.v,
                                           .accumulate = !last_,
                                           .bias = a.bias};
  ops::flash_attention_backward_bias(stream, dropped(scored(op, starts), part.draw));
}

}  // namespace msltx::model
