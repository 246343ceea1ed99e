// From logits to the next token. Masked means -inf; ties go to the lowest index.
#pragma once

#include "msltx/ops/op.h"

namespace msltx::ops {

struct TemperatureScale {
  static constexpr std::string_view name = "temperature_scale";
  static constexpr std::string_view summary = "out = logits / temperature";
  Tensor out, logits;
  float temperature = 1;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &TemperatureScale::out, "N V").float32().masked().alias("logits");
    v.reads("logits", &TemperatureScale::logits, "N V").float32().masked();
    v.attribute("temperature", &TemperatureScale::temperature, "divisor").above(0);
  }
  double flops() const { return static_cast<double>(logits.size()); }
};

struct TopkMask {
  static constexpr std::string_view name = "topk_mask";
  static constexpr std::string_view summary =
      "out = logits where among the row's k largest, else -inf";
  Tensor out, logits;
  int64_t k = 0;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &TopkMask::out, "N V").float32().masked().alias("logits");
    v.reads("logits", &TopkMask::logits, "N V").float32().masked();
    v.attribute("k", &TopkMask::k, "V or more keeps all").required().at_least(1);
  }
  double flops() const { return static_cast<double>(logits.size()); }
};

struct ToppMask {
  static constexpr std::string_view name = "topp_mask";
  static constexpr std::string_view summary =
      "out = logits where among the fewest most probable tokens whose probabilities reach p, else "
      "-inf (Holtzman et al. 2020)";
  Tensor out, logits;
  float p = 1;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &ToppMask::out, "N V").float32().masked().alias("logits");
    v.reads("logits", &ToppMask::logits, "N V").float32().masked();
    v.attribute("p", &ToppMask::p, "at least one token is kept").required().above(0).at_most(1);
  }
  double flops() const { return 4.0 * static_cast<double>(logits.size()); }
};

struct ArgmaxSample {
  static constexpr std::string_view name = "argmax_sample";
  static constexpr std::string_view summary = "tokens = index of each row's largest logit";
  Tensor tokens, logits;

  template <class V>
  static void visit(V& v) {
    v.writes("tokens", &ArgmaxSample::tokens, "N").int32();
    v.reads("logits", &ArgmaxSample::logits, "N V").float32().masked();
  }
  double flops() const { return static_cast<double>(logits.size()); }
};

struct CategoricalSample {
  static constexpr std::string_view name = "categorical_sample";
  static constexpr std::string_view summary =
      "tokens = least index whose cumulative probability exceeds u, u drawn by Philox from (seed, "
      "step, sequence)";
  Tensor tokens, logits, sequences;
  int64_t seed = 0, step = 0;

  template <class V>
  static void visit(V& v) {
    v.writes("tokens", &CategoricalSample::tokens, "N").int32();
    v.reads("logits", &CategoricalSample::logits, "N V").float32().masked();
    v.reads("sequences", &CategoricalSample::sequences, "N",
            "each row's random stream; its index where absent")
        .int32()
        .optional();
    v.attribute("seed", &CategoricalSample::seed, "any integer");
    v.attribute("step", &CategoricalSample::step, "position in the random stream").at_least(0);
  }
  double flops() const { return 5.0 * static_cast<double>(logits.size()); }
};

}  // namespace msltx::ops
