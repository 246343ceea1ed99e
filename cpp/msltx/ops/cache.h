// The key/value cache of generation, and attention against it. A cache holds S places for each of B
// sequences; places are filled from 0 on.
#pragma once

#include "msltx/ops/op.h"
#include "msltx/ops/softcap.h"

namespace msltx::ops {

struct KvCacheAppend {
  static constexpr std::string_view name = "kv_cache_append";
  static constexpr std::string_view summary =
      "k_cache[b, :, positions[b] + t] = k[b, :, t], and v likewise; places past S are left out";
  Tensor k_cache, v_cache, k, v, positions;

  template <class V>
  static void visit(V& visitor) {
    visitor.updates("k_cache", &KvCacheAppend::k_cache, "B nkv S hs").partly_written();
    visitor.updates("v_cache", &KvCacheAppend::v_cache, "B nkv S hs").partly_written();
    visitor.reads("k", &KvCacheAppend::k, "B nkv T hs");
    visitor.reads("v", &KvCacheAppend::v, "B nkv T hs");
    visitor
        .reads("positions", &KvCacheAppend::positions, "B",
               "place of each sequence's first new token")
        .int32()
        .at_most("S");
  }
  double flops() const { return 0; }
};

struct KvCacheGather {
  static constexpr std::string_view name = "kv_cache_gather";
  static constexpr std::string_view summary = "k_out[m] = k_cache[rows[m]], and v likewise";
  Tensor k_out, v_out, k_cache, v_cache, rows;

  template <class V>
  static void visit(V& visitor) {
    visitor.writes("k_out", &KvCacheGather::k_out, "M nkv S hs").partly_written();
    visitor.writes("v_out", &KvCacheGather::v_out, "M nkv S hs").partly_written();
    visitor.reads("k_cache", &KvCacheGather::k_cache, "B nkv S hs").partly_written();
    visitor.reads("v_cache", &KvCacheGather::v_cache, "B nkv S hs").partly_written();
    visitor.reads("rows", &KvCacheGather::rows, "M").int32().below("B");
  }
  double flops() const { return 0; }
};

// The options are those of attention.h, for a query at place i = lengths[b] - T + t.
struct AttentionInference {
  static constexpr std::string_view name = "attention_inference";
  static constexpr std::string_view summary =
      "query t of sequence b stands at place lengths[b] - T + t and attends to the places up to "
      "its own";
  Tensor out, q, k_cache, v_cache, lengths;
  float scale = 0;
  int64_t window = 0;
  float softcap = 0;
  Tensor relative_bias{}, alibi_slopes{};

  template <class V>
  static void visit(V& visitor) {
    visitor.writes("out", &AttentionInference::out, "B nh T hs", "a row with no key gives zeros");
    visitor.reads("q", &AttentionInference::q, "B nh T hs");
    visitor.reads("k_cache", &AttentionInference::k_cache, "B nkv S hs").partly_written();
    visitor.reads("v_cache", &AttentionInference::v_cache, "B nkv S hs").partly_written();
    visitor
        .reads("lengths", &AttentionInference::lengths, "B", "places filled, new tokens included")
        .int32()
        .at_most("S");
    visitor
        .reads("relative_bias", &AttentionInference::relative_bias, "nh S",
               "added to the scores: entry S - 1 - d where query and key are d places apart, which "
               "is the last row of a bias that depends on the distance alone")
        .float32()
        .masked()
        .optional();
    visitor
        .reads("alibi_slopes", &AttentionInference::alibi_slopes, "nh",
               "ALiBi: slope times distance is taken off a score")
        .float32()
        .optional();
    visitor.multiple_of("nh", "nkv");
    visitor.attribute("scale", &AttentionInference::scale, "0: 1 / sqrt(hs)");
    visitor
        .attribute("window", &AttentionInference::window,
                   "keys that a query sees, its own included: query - window < key; 0: all")
        .at_least(0);
    visitor
        .attribute("softcap", &AttentionInference::softcap,
                   "scores become softcap tanh(score / softcap), before the biases; 0: they stay")
        .at_least(kLeastSoftcap)
        .or_zero();
  }
  double flops() const {
    return 4.0 * static_cast<double>(q.size()) * static_cast<double>(k_cache.dim(2));
  }
};

}  // namespace msltx::ops
