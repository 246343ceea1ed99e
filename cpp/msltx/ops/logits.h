// What may be done to logits before they are sampled from or lose: a soft cap (Gemma 2), and a
// penalty on tokens that were there before (Keskar et al.: "CTRL", 2019).
#pragma once

#include "msltx/ops/op.h"
#include "msltx/ops/softcap.h"

namespace msltx::ops {

struct SoftcapLogits {
  static constexpr std::string_view name = "softcap_logits";
  static constexpr std::string_view summary = "out = cap tanh(logits / cap)";
  Tensor out, logits;
  float cap = 0;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &SoftcapLogits::out, "N V").float32().alias("logits");
    v.reads("logits", &SoftcapLogits::logits, "N V").float32().masked();
    v.attribute("cap", &SoftcapLogits::cap, "what no logit reaches")
        .required()
        .at_least(kLeastSoftcap);
  }
  double flops() const { return 12.0 * static_cast<double>(logits.size()); }
};

// For losses of one's own; linear_cross_entropy has a soft cap within.
struct SoftcapLogitsBackward {
  static constexpr std::string_view name = "softcap_logits_backward";
  static constexpr std::string_view summary = "d_logits = d_out * (1 - (forward_out / cap)^2)";
  Tensor d_logits, d_out, forward_out;
  float cap = 0;

  template <class V>
  static void visit(V& v) {
    v.writes("d_logits", &SoftcapLogitsBackward::d_logits, "N V").float32().alias("d_out");
    v.reads("d_out", &SoftcapLogitsBackward::d_out, "N V").float32();
    v.reads("forward_out", &SoftcapLogitsBackward::forward_out, "N V", "out of the forward")
        .float32();
    v.attribute("cap", &SoftcapLogitsBackward::cap, "as in the forward")
        .required()
        .at_least(kLeastSoftcap);
  }
  double flops() const { return 4.0 * static_cast<double>(d_out.size()); }
};

struct RepetitionPenalty {
  static constexpr std::string_view name = "repetition_penalty";
  static constexpr std::string_view summary =
      "out = logits, those of the row's tokens made less likely: divided by penalty where above 0, "
      "else multiplied by it; once for each token, however often it is there";
  Tensor out, logits, tokens;
  float penalty = 1;
  int64_t ignore_index = -1;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &RepetitionPenalty::out, "N V").float32().masked().alias("logits");
    v.reads("logits", &RepetitionPenalty::logits, "N V").float32().masked();
    v.reads("tokens", &RepetitionPenalty::tokens, "N M", "what each row has had")
        .int32()
        .below("V")
        .or_value_of("ignore_index");
    v.attribute("penalty", &RepetitionPenalty::penalty, "1: none; below 1 favours repetition")
        .required()
        .above(0);
    v.attribute("ignore_index", &RepetitionPenalty::ignore_index,
                "token that stands for none, where rows have had fewer");
  }
  double flops() const { return static_cast<double>(tokens.size()); }
};

}  // namespace msltx::ops
