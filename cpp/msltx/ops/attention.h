// Attention: its parts one by one, and fused without a T x S matrix. q, k, v and their gradients
// may be strided views, such as of a fused qkv projection; head h of q reads head h / (nh / nkv) of
// k and v.
//
// Query t of T stands at place i = t + S - T, so that the last query stands at the last key. The
// score of key s is
//
//   softcap(scale q.k) + bias[h, t, s] - alibi_slopes[h] |i - s|,  softcap(x) = cap tanh(x / cap)
//
// with scale 1 / sqrt(hs) where it is 0, and no soft cap where that is 0. The query sees the keys
//
//   s <= i             where causal (k > q is masked, strictly)
//   i - window < s     where window is not 0 (the convention of Hugging Face's Mistral: `window`
//                      keys, its own included); where not causal s < i + window too
//   document_starts[b, t] <= s, where given: the place of the first key of the query's document;
//                      with causal a query attends inside its document only
//
// and a query that sees none gives zeros. A bias of -inf hides a key as well.
#pragma once

#include "msltx/ops/op.h"
#include "msltx/ops/softcap.h"

namespace msltx::ops {

// What visit() says of the options that all forms of attention share.
template <class Op, class V>
void visit_document_starts(V& v) {
  v.reads("document_starts", &Op::document_starts, "B T",
          "place of the first key of the query's document; keys before it are masked")
      .int32()
      .below("S")
      .optional();
}

template <class Op, class V>
void visit_score_inputs(V& v) {
  v.reads("bias", &Op::bias, "nh T S", "added to the scores; -inf hides a key")
      .masked()
      .float32()
      .optional();
  v.reads("alibi_slopes", &Op::alibi_slopes, "nh",
          "ALiBi: slope times distance is taken off a score")
      .float32()
      .optional();
  visit_document_starts<Op>(v);
}

template <class Op, class V>
void visit_mask_attributes(V& v) {
  v.attribute("causal", &Op::causal, "mask the keys after the query");
  v.attribute("window", &Op::window,
              "keys that a query sees, its own included: query - window < key; 0: all")
      .at_least(0);
}

template <class Op, class V>
void visit_score_attributes(V& v) {
  v.attribute("scale", &Op::scale, "0: 1 / sqrt(hs)");
  visit_mask_attributes<Op>(v);
  v.attribute("softcap", &Op::softcap,
              "scores become softcap tanh(score / softcap), before bias and mask; 0: they stay")
      .at_least(kLeastSoftcap)
      .or_zero();
}

// Of dropout on the probabilities (attention_dropout.h has the formula): forward and backward draw
// the same numbers where all of these, the shape and the head are the same.
template <class Op, class V>
void visit_dropout_inputs(V& v) {
  v.reads("sequences", &Op::sequences, "B",
          "each sequence's random stream; first_sequence + its index where absent")
      .int32()
      .optional();
}

template <class Op, class V>
void visit_dropout_attributes(V& v) {
  v.attribute("dropout", &Op::dropout, "share of the probabilities that is dropped")
      .at_least(0)
      .below(1);
  v.attribute("seed", &Op::seed, "any integer; each layer of a model takes one of its own");
  v.attribute("step", &Op::step, "of training").at_least(0).below(0x1p32);
  v.attribute("first_sequence", &Op::first_sequence, "number of the first sequence within the step")
      .at_least(0)
      .below(0x1p32);
}

struct SplitHeadsForward {
  static constexpr std::string_view name = "split_heads_forward";
  static constexpr std::string_view summary = "out[b, h, t, i] = x[b, t, h hs + i]";
  Tensor out, x;
  int64_t num_heads = 0;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &SplitHeadsForward::out, "B nh T hs");
    v.reads("x", &SplitHeadsForward::x, "B T nh*hs");
    v.attribute("num_heads", &SplitHeadsForward::num_heads, "nh")
        .sets_axis("nh")
        .required()
        .at_least(1);
  }
  double flops() const { return 0; }
};

struct SplitHeadsBackward {
  static constexpr std::string_view name = "split_heads_backward";
  static constexpr std::string_view summary = "d_x[b, t, h hs + i] = d_out[b, h, t, i]";
  Tensor d_x, d_out;

  template <class V>
  static void visit(V& v) {
    v.writes("d_x", &SplitHeadsBackward::d_x, "B T nh*hs");
    v.reads("d_out", &SplitHeadsBackward::d_out, "B nh T hs");
  }
  double flops() const { return 0; }
};

struct MergeHeadsForward {
  static constexpr std::string_view name = "merge_heads_forward";
  static constexpr std::string_view summary = "out[b, t, h hs + i] = x[b, h, t, i]";
  Tensor out, x;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &MergeHeadsForward::out, "B T nh*hs");
    v.reads("x", &MergeHeadsForward::x, "B nh T hs");
  }
  double flops() const { return 0; }
};

struct MergeHeadsBackward {
  static constexpr std::string_view name = "merge_heads_backward";
  static constexpr std::string_view summary = "d_x[b, h, t, i] = d_out[b, t, h hs + i]";
  Tensor d_x, d_out;
  int64_t num_heads = 0;

  template <class V>
  static void visit(V& v) {
    v.writes("d_x", &MergeHeadsBackward::d_x, "B nh T hs");
    v.reads("d_out", &MergeHeadsBackward::d_out, "B T nh*hs");
    v.attribute("num_heads", &MergeHeadsBackward::num_heads, "nh")
        .sets_axis("nh")
        .required()
        .at_least(1);
  }
  double flops() const { return 0; }
};

struct AttentionScoresForward {
  static constexpr std::string_view name = "attention_scores_forward";
  static constexpr std::string_view summary =
      "out = softcap(scale q k^T) + bias - alibi_slopes distance, masked entries -inf";
  Tensor out, q, k;
  float scale = 0;
  bool causal = true;
  int64_t window = 0;
  float softcap = 0;
  Tensor bias{}, alibi_slopes{}, document_starts{};

  template <class V>
  static void visit(V& v) {
    v.writes("out", &AttentionScoresForward::out, "B nh T S").masked();
    v.reads("q", &AttentionScoresForward::q, "B nh T hs");
    v.reads("k", &AttentionScoresForward::k, "B nkv S hs");
    visit_score_inputs<AttentionScoresForward>(v);
    v.multiple_of("nh", "nkv");
    visit_score_attributes<AttentionScoresForward>(v);
  }
  double flops() const {
    return 2.0 * static_cast<double>(out.size()) * static_cast<double>(q.dim(3));
  }
};

struct AttentionScoresBackward {
  static constexpr std::string_view name = "attention_scores_backward";
  static constexpr std::string_view summary =
      "with ds = scale d_out softcap'(scale q k^T), masked entries left out: d_q = ds k, d_k = "
      "ds^T q";
  Tensor d_q, d_k, d_out, q, k;
  float scale = 0;
  bool causal = true;
  int64_t window = 0;
  float softcap = 0;
  Tensor document_starts{};

  template <class V>
  static void visit(V& v) {
    v.writes("d_q", &AttentionScoresBackward::d_q, "B nh T hs");
    v.writes("d_k", &AttentionScoresBackward::d_k, "B nkv S hs");
    v.reads("d_out", &AttentionScoresBackward::d_out, "B nh T S");
    v.reads("q", &AttentionScoresBackward::q, "B nh T hs");
    v.reads("k", &AttentionScoresBackward::k, "B nkv S hs");
    visit_document_starts<AttentionScoresBackward>(v);
    v.multiple_of("nh", "nkv");
    visit_score_attributes<AttentionScoresBackward>(v);
  }
  double flops() const {
    return (softcap > 0 ? 6.0 : 4.0) * static_cast<double>(d_out.size()) *
           static_cast<double>(q.dim(3));
  }
};

struct AttentionScoresBackwardBias {
  static constexpr std::string_view name = "attention_scores_backward_bias";
  static constexpr std::string_view summary =
      "d_bias = sum of d_out over the batch, in order, masked entries left out";
  Tensor d_bias, d_out;
  bool causal = true;
  int64_t window = 0;
  bool accumulate = false;
  Tensor document_starts{};

  template <class V>
  static void visit(V& v) {
    v.accumulates("d_bias", &AttentionScoresBackwardBias::d_bias, "nh T S",
                  "zero where a key is masked")
        .float32();
    v.reads("d_out", &AttentionScoresBackwardBias::d_out, "B nh T S");
    visit_document_starts<AttentionScoresBackwardBias>(v);
    visit_mask_attributes<AttentionScoresBackwardBias>(v);
    v.attribute("accumulate", &AttentionScoresBackwardBias::accumulate,
                "add to d_bias instead of writing it");
  }
  double flops() const { return static_cast<double>(d_out.size()); }
};

struct AttentionMixForward {
  static constexpr std::string_view name = "attention_mix_forward";
  static constexpr std::string_view summary = "out = dropped(probabilities) v";
  Tensor out, probabilities, v;
  float dropout = 0;
  int64_t seed = 0, step = 0, first_sequence = 0;
  Tensor sequences{};

  template <class V>
  static void visit(V& visitor) {
    visitor.writes("out", &AttentionMixForward::out, "B nh T hs");
    visitor.reads("probabilities", &AttentionMixForward::probabilities, "B nh T S");
    visitor.reads("v", &AttentionMixForward::v, "B nkv S hs");
    visit_dropout_inputs<AttentionMixForward>(visitor);
    visitor.multiple_of("nh", "nkv");
    visit_dropout_attributes<AttentionMixForward>(visitor);
  }
  double flops() const {
    return 2.0 * static_cast<double>(probabilities.size()) * static_cast<double>(v.dim(3));
  }
};

struct AttentionMixBackward {
  static constexpr std::string_view name = "attention_mix_backward";
  static constexpr std::string_view summary =
      "d_probabilities = dropped(d_out v^T), d_v = dropped(probabilities)^T d_out";
  Tensor d_probabilities, d_v, d_out, probabilities, v;
  float dropout = 0;
  int64_t seed = 0, step = 0, first_sequence = 0;
  Tensor sequences{};

  template <class V>
  static void visit(V& visitor) {
    visitor.writes("d_probabilities", &AttentionMixBackward::d_probabilities, "B nh T S");
    visitor.writes("d_v", &AttentionMixBackward::d_v, "B nkv S hs");
    visitor.reads("d_out", &AttentionMixBackward::d_out, "B nh T hs");
    visitor.reads("probabilities", &AttentionMixBackward::probabilities, "B nh T S");
    visitor.reads("v", &AttentionMixBackward::v, "B nkv S hs");
    visit_dropout_inputs<AttentionMixBackward>(visitor);
    visitor.multiple_of("nh", "nkv");
    visit_dropout_attributes<AttentionMixBackward>(visitor);
  }
  double flops() const {
    return 4.0 * static_cast<double>(probabilities.size()) * static_cast<double>(v.dim(3));
  }
};

// Operations of fused attention, counted whole (masked pairs included) so that shares of peak
// compare.
inline double attention_flops(const Tensor& q, const Tensor& k, int products) {
  return 2.0 * products * static_cast<double>(q.size()) * static_cast<double>(k.dim(2));
}

struct FlashAttentionForward {
  static constexpr std::string_view name = "flash_attention_forward";
  static constexpr std::string_view summary =
      "out = dropped(softmax(scores)) v, scores = softcap(scale q k^T) + bias - alibi_slopes "
      "distance, tile by tile; lse = log of each row's sum of exponentials";
  Tensor out, lse, q, k, v;
  float scale = 0;
  bool causal = true;
  int64_t window = 0;
  float softcap = 0;
  Tensor bias{}, alibi_slopes{}, document_starts{};
  float dropout = 0;
  int64_t seed = 0, step = 0, first_sequence = 0;
  Tensor sequences{};

  template <class V>
  static void visit(V& visitor) {
    visitor.writes("out", &FlashAttentionForward::out, "B nh T hs",
                   "a row with no key gives zeros");
    visitor.writes("lse", &FlashAttentionForward::lse, "B nh T", "-inf where a row has no key")
        .float32()
        .masked()
        .optional();
    visitor.reads("q", &FlashAttentionForward::q, "B nh T hs");
    visitor.reads("k", &FlashAttentionForward::k, "B nkv S hs");
    visitor.reads("v", &FlashAttentionForward::v, "B nkv S hs");
    visit_score_inputs<FlashAttentionForward>(visitor);
    visit_dropout_inputs<FlashAttentionForward>(visitor);
    visitor.multiple_of("nh", "nkv");
    visit_score_attributes<FlashAttentionForward>(visitor);
    visit_dropout_attributes<FlashAttentionForward>(visitor);
  }
  double flops() const { return attention_flops(q, k, 2); }
};

// What both gradients of fused attention read, and what its forward was told.
template <class Op, class V>
void visit_flash_backward_inputs(V& visitor) {
  visitor.reads("d_out", &Op::d_out, "B nh T hs");
  visitor.reads("forward_out", &Op::forward_out, "B nh T hs", "out of the forward");
  visitor.reads("lse", &Op::lse, "B nh T", "of the forward").float32().masked();
  visitor.reads("q", &Op::q, "B nh T hs");
  visitor.reads("k", &Op::k, "B nkv S hs");
  visitor.reads("v", &Op::v, "B nkv S hs");
  visit_score_inputs<Op>(visitor);
  visit_dropout_inputs<Op>(visitor);
  visitor.multiple_of("nh", "nkv");
  visit_score_attributes<Op>(visitor);
  visit_dropout_attributes<Op>(visitor);
}

struct FlashAttentionBackward {
  static constexpr std::string_view name = "flash_attention_backward";
  static constexpr std::string_view summary =
      "with p = exp(scores - lse) and ds = p * (dropped(d_out v^T) - sum(d_out * forward_out)) * "
      "softcap': d_q = scale ds k, d_k = scale ds^T q, d_v = dropped(p)^T d_out";
  Tensor d_q, d_k, d_v, d_out, forward_out, lse, q, k, v;
  float scale = 0;
  bool causal = true;
  int64_t window = 0;
  float softcap = 0;
  Tensor bias{}, alibi_slopes{}, document_starts{};
  float dropout = 0;
  int64_t seed = 0, step = 0, first_sequence = 0;
  Tensor sequences{};

  template <class V>
  static void visit(V& visitor) {
    visitor.writes("d_q", &FlashAttentionBackward::d_q, "B nh T hs");
    visitor.writes("d_k", &FlashAttentionBackward::d_k, "B nkv S hs");
    visitor.writes("d_v", &FlashAttentionBackward::d_v, "B nkv S hs");
    visit_flash_backward_inputs<FlashAttentionBackward>(visitor);
  }
  double flops() const { return attention_flops(q, k, 5); }
};

// The gradient of the bias adds up the batch, so it runs over all sequences at once, as the
// gradients of weights do, and not in flash_attention_backward, which runs chunk by chunk.
struct FlashAttentionBackwardBias {
  static constexpr std::string_view name = "flash_attention_backward_bias";
  static constexpr std::string_view summary =
      "d_bias = sum over the batch, in order, of p * (dropped(d_out v^T) - sum(d_out * "
      "forward_out)), p = "
      "exp(scores - lse)";
  Tensor d_bias, d_out, forward_out, lse, q, k, v;
  float scale = 0;
  bool causal = true;
  int64_t window = 0;
  float softcap = 0;
  bool accumulate = false;
  Tensor bias{}, alibi_slopes{}, document_starts{};
  float dropout = 0;
  int64_t seed = 0, step = 0, first_sequence = 0;
  Tensor sequences{};

  template <class V>
  static void visit(V& visitor) {
    visitor
        .accumulates("d_bias", &FlashAttentionBackwardBias::d_bias, "nh T S",
                     "zero where a key is masked")
        .float32();
    visit_flash_backward_inputs<FlashAttentionBackwardBias>(visitor);
    visitor.attribute("accumulate", &FlashAttentionBackwardBias::accumulate,
                      "add to d_bias instead of writing it");
  }
  double flops() const { return attention_flops(q, k, 2); }
};

}  // namespace msltx::ops
