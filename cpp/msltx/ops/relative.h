// Attention by relative position with learned parts: T5's bias per distance bucket, and the scores
// of Transformer-XL. Query t of T stands at place i = t + S - T.
#pragma once

#include <algorithm>
#include <cmath>

#include "msltx/ops/op.h"

namespace msltx::ops {

// The bucket of the distance `apart` = key place - query place. One sided, all keys ahead are
// distance 0; two sided, they have the upper half of the buckets. Of the buckets of a side, the
// lower half holds one distance each, the others grow by one ratio up to max_distance, and the last
// one holds all from there on. Raffel et al.: "Exploring the limits of transfer learning with a
// unified text-to-text transformer", 2020.
inline int64_t relative_bucket(int64_t apart, int64_t buckets, int64_t max_distance,
                               bool bidirectional) {
  int64_t base = 0, distance = std::max<int64_t>(-apart, 0);
  if (bidirectional) {
    buckets /= 2;
    base = apart > 0 ? buckets : 0;
    distance = std::abs(apart);
  }
  const int64_t exact = buckets / 2;
  if (distance < exact || buckets < 2) return base + std::min(distance, exact);
  if (max_distance <= exact) return base + buckets - 1;
  const double ratio = std::log(static_cast<double>(distance) / static_cast<double>(exact)) /
                       std::log(static_cast<double>(max_distance) / static_cast<double>(exact));
  const auto above = static_cast<int64_t>(ratio * static_cast<double>(buckets - exact));
  return base + std::min(exact + above, buckets - 1);
}

struct RelativePositionBiasForward {
  static constexpr std::string_view name = "relative_position_bias_forward";
  static constexpr std::string_view summary =
      "out[h, t, s] = weight[bucket of the distance of key s from query t, at place t + S - T, h]";
  Tensor out, weight;
  int64_t num_queries = 0, num_keys = 0, max_distance = 128;
  bool bidirectional = false;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &RelativePositionBiasForward::out, "nh T S",
             "with num_queries=1 the relative_bias of attention_inference")
        .float32();
    v.reads("weight", &RelativePositionBiasForward::weight, "R nh").float32();
    v.attribute("num_queries", &RelativePositionBiasForward::num_queries, "T")
        .sets_axis("T")
        .required()
        .at_least(1);
    v.attribute("num_keys", &RelativePositionBiasForward::num_keys, "S")
        .sets_axis("S")
        .required()
        .at_least(1);
    v.attribute("max_distance", &RelativePositionBiasForward::max_distance,
                "from where on all distances share the last bucket")
        .at_least(1);
    v.attribute("bidirectional", &RelativePositionBiasForward::bidirectional,
                "half of the buckets for keys after the query; else these are at distance 0");
  }
  double flops() const { return 0; }
};

struct RelativePositionBiasBackward {
  static constexpr std::string_view name = "relative_position_bias_backward";
  static constexpr std::string_view summary =
      "d_weight[r, h] = sum of d_out[h, t, s] over the pairs whose distance is in bucket r";
  Tensor d_weight, d_out;
  int64_t num_buckets = 0, max_distance = 128;
  bool bidirectional = false, accumulate = false;

  template <class V>
  static void visit(V& v) {
    v.accumulates("d_weight", &RelativePositionBiasBackward::d_weight, "R nh").float32();
    v.reads("d_out", &RelativePositionBiasBackward::d_out, "nh T S").float32();
    v.attribute("num_buckets", &RelativePositionBiasBackward::num_buckets, "R")
        .sets_axis("R")
        .required()
        .at_least(1);
    v.attribute("max_distance", &RelativePositionBiasBackward::max_distance,
                "from where on all distances share the last bucket")
        .at_least(1);
    v.attribute("bidirectional", &RelativePositionBiasBackward::bidirectional,
                "half of the buckets for keys after the query; else these are at distance 0");
    v.attribute("accumulate", &RelativePositionBiasBackward::accumulate,
                "add to d_weight instead of writing it");
  }
  double flops() const { return static_cast<double>(d_out.size()); }
};

// Transformer-XL (Dai et al.: "Transformer-XL: attentive language models beyond a fixed-length
// context", 2019): the score of key s is scale ((q + u) k_s + (q + v) r_d), with d = i - s the
// distance, r_d its sinusoidal encoding times a matrix, u and v learned per head. Keys after the
// query are masked always; window and documents as in attention.h. softmax and attention_mix
// follow.
template <class Op, class V>
void visit_relative_scores(V& v) {
  v.reads("q", &Op::q, "B nh T hs");
  v.reads("k", &Op::k, "B nkv S hs");
  v.reads("r", &Op::r, "nh S hs", "row d: the projected encoding of distance d");
  v.reads("content_bias", &Op::content_bias, "nh hs", "u").float32();
  v.reads("position_bias", &Op::position_bias, "nh hs", "v").float32();
  v.reads("document_starts", &Op::document_starts, "B T",
          "place of the first key of the query's document; keys before it are masked")
      .int32()
      .below("S")
      .optional();
  v.multiple_of("nh", "nkv");
  v.attribute("scale", &Op::scale, "0: 1 / sqrt(hs)");
  v.attribute("window", &Op::window,
              "keys that a query sees, its own included: query - window < key; 0: all")
      .at_least(0);
}

struct RelativeAttentionScoresForward {
  static constexpr std::string_view name = "relative_attention_scores_forward";
  static constexpr std::string_view summary =
      "out[.., t, s] = scale ((q_t + content_bias) k_s + (q_t + position_bias) r[i - s]), i = t + "
      "S "
      "- T; keys after i -inf";
  Tensor out, q, k, r, content_bias, position_bias;
  float scale = 0;
  int64_t window = 0;
  Tensor document_starts{};

  template <class V>
  static void visit(V& v) {
    v.writes("out", &RelativeAttentionScoresForward::out, "B nh T S").masked();
    visit_relative_scores<RelativeAttentionScoresForward>(v);
  }
  double flops() const {
    return 4.0 * static_cast<double>(out.size()) * static_cast<double>(q.dim(3));
  }
};

struct RelativeAttentionScoresBackwardData {
  static constexpr std::string_view name = "relative_attention_scores_backward_data";
  static constexpr std::string_view summary =
      "d_q[t] = scale sum over s of d_out[t, s] (k_s + r[i - s]), d_k[s] = scale sum over t of "
      "d_out[t, s] (q_t + content_bias), masked entries left out";
  Tensor d_q, d_k, d_out, q, k, r, content_bias, position_bias;
  float scale = 0;
  int64_t window = 0;
  Tensor document_starts{};

  template <class V>
  static void visit(V& v) {
    v.writes("d_q", &RelativeAttentionScoresBackwardData::d_q, "B nh T hs");
    v.writes("d_k", &RelativeAttentionScoresBackwardData::d_k, "B nkv S hs");
    v.reads("d_out", &RelativeAttentionScoresBackwardData::d_out, "B nh T S");
    visit_relative_scores<RelativeAttentionScoresBackwardData>(v);
  }
  double flops() const {
    return 6.0 * static_cast<double>(d_out.size()) * static_cast<double>(q.dim(3));
  }
};

struct RelativeAttentionScoresBackwardWeights {
  static constexpr std::string_view name = "relative_attention_scores_backward_weights";
  static constexpr std::string_view summary =
      "sums over batch and queries, scaled: d_r[d] of d_out[t, i - d] (q_t + position_bias), "
      "d_content_bias of d_out[t, s] k_s, d_position_bias of d_out[t, s] r[i - s]";
  Tensor d_r, d_content_bias, d_position_bias, d_out, q, k, r, content_bias, position_bias;
  float scale = 0;
  int64_t window = 0;
  bool accumulate = false;
  Tensor document_starts{};

  template <class V>
  static void visit(V& v) {
    using Op = RelativeAttentionScoresBackwardWeights;
    v.accumulates("d_r", &Op::d_r, "nh S hs").float32();
    v.accumulates("d_content_bias", &Op::d_content_bias, "nh hs").float32();
    v.accumulates("d_position_bias", &Op::d_position_bias, "nh hs").float32();
    v.reads("d_out", &Op::d_out, "B nh T S");
    visit_relative_scores<Op>(v);
    v.attribute("accumulate", &Op::accumulate, "add to the gradients instead of writing them");
  }
  double flops() const {
    return 6.0 * static_cast<double>(d_out.size()) * static_cast<double>(q.dim(3));
  }
};

}  // namespace msltx::ops
