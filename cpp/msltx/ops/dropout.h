// Dropout (Srivastava et al. 2014), its mask drawn from a counter: nothing is saved for the
// backward, which draws the same numbers again, and no number depends on how work was cut.
#pragma once

#include "msltx/ops/op.h"

namespace msltx::ops {

// Element i = t C + c of a sequence uses word i mod 4 of philox(seed, dropout, step, sequence, i /
// 4): it is dropped where uniform_float(word) < p.
struct DropoutForward {
  static constexpr std::string_view name = "dropout_forward";
  static constexpr std::string_view summary =
      "out = x / (1 - p) where a random number of (seed, step, sequence, place) is at least p, "
      "else 0";
  Tensor out, x, sequences;
  float p = 0;
  int64_t seed = 0, step = 0, first_sequence = 0;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &DropoutForward::out, "B T C").alias("x");
    v.reads("x", &DropoutForward::x, "B T C");
    v.reads("sequences", &DropoutForward::sequences, "B",
            "each sequence's random stream; first_sequence + its index where absent")
        .int32()
        .optional();
    v.attribute("p", &DropoutForward::p, "share that is dropped").required().at_least(0).below(1);
    v.attribute("seed", &DropoutForward::seed,
                "any integer; each place in a model takes one of its own");
    v.attribute("step", &DropoutForward::step, "of training").at_least(0).below(0x1p32);
    v.attribute("first_sequence", &DropoutForward::first_sequence,
                "number of the first sequence within the step")
        .at_least(0)
        .below(0x1p32);
  }
  double flops() const { return 2.0 * static_cast<double>(x.size()); }
};

struct DropoutBackward {
  static constexpr std::string_view name = "dropout_backward";
  static constexpr std::string_view summary =
      "d_x = d_out / (1 - p) where the forward kept x, else 0: the same numbers, drawn again";
  Tensor d_x, d_out, sequences;
  float p = 0;
  int64_t seed = 0, step = 0, first_sequence = 0;

  template <class V>
  static void visit(V& v) {
    v.writes("d_x", &DropoutBackward::d_x, "B T C").alias("d_out");
    v.reads("d_out", &DropoutBackward::d_out, "B T C");
    v.reads("sequences", &DropoutBackward::sequences, "B",
            "each sequence's random stream; first_sequence + its index where absent")
        .int32()
        .optional();
    v.attribute("p", &DropoutBackward::p, "share that is dropped").required().at_least(0).below(1);
    v.attribute("seed", &DropoutBackward::seed, "as in the forward");
    v.attribute("step", &DropoutBackward::step, "of training").at_least(0).below(0x1p32);
    v.attribute("first_sequence", &DropoutBackward::first_sequence,
                "number of the first sequence within the step")
        .at_least(0)
        .below(0x1p32);
  }
  double flops() const { return 2.0 * static_cast<double>(d_out.size()); }
};

}  // namespace msltx::ops
