// Rotary position embedding: pairs of a head's numbers are turned by an angle that grows with the
// position. Su et al.: "RoFormer", 2021. The table of angles is the model's (model/rope.h).
#pragma once

#include "msltx/ops/op.h"

namespace msltx::ops {

// Which numbers of a head are a pair i of hs/2: 2i and 2i + 1, or i and i + hs/2.
enum class RopeLayout : int64_t { interleaved, half_split };

struct RopeForward {
  static constexpr std::string_view name = "rope_forward";
  static constexpr std::string_view summary =
      "each pair (a, b) of a head becomes (a cos - b sin, a sin + b cos), cos and sin from row "
      "offset_b + t of the table; pairs are neighbours (interleaved) or lie hs/2 apart "
      "(half_split)";
  Tensor out, x, table, offsets;
  RopeLayout layout = RopeLayout::interleaved;
  int64_t offset = 0;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &RopeForward::out, "B nh T hs").alias("x");
    v.reads("x", &RopeForward::x, "B nh T hs");
    v.reads("table", &RopeForward::table, "S hs", "cos, sin, cos, sin ... of each pair").float32();
    v.reads("offsets", &RopeForward::offsets, "B",
            "position of each sequence's first token; offset is used where absent")
        .int32()
        .optional()
        .at_most("S - T");
    v.choice("layout", &RopeForward::layout, {"interleaved", "half_split"}, "which are pairs");
    v.attribute("offset", &RopeForward::offset, "position of the first token")
        .at_least(0)
        .at_most("S - T");
    v.multiple_of("hs", "2");
  }
  double flops() const { return 3.0 * static_cast<double>(x.size()); }
};

struct RopeBackward {
  static constexpr std::string_view name = "rope_backward";
  static constexpr std::string_view summary =
      "each pair (a, b) of d_out becomes (a cos + b sin, b cos - a sin): turned back";
  Tensor d_x, d_out, table, offsets;
  RopeLayout layout = RopeLayout::interleaved;
  int64_t offset = 0;

  template <class V>
  static void visit(V& v) {
    v.writes("d_x", &RopeBackward::d_x, "B nh T hs").alias("d_out");
    v.reads("d_out", &RopeBackward::d_out, "B nh T hs");
    v.reads("table", &RopeBackward::table, "S hs", "cos, sin, cos, sin ... of each pair").float32();
    v.reads("offsets", &RopeBackward::offsets, "B",
            "position of each sequence's first token; offset is used where absent")
        .int32()
        .optional()
        .at_most("S - T");
    v.choice("layout", &RopeBackward::layout, {"interleaved", "half_split"}, "which are pairs");
    v.attribute("offset", &RopeBackward::offset, "position of the first token")
        .at_least(0)
        .at_most("S - T");
    v.multiple_of("hs", "2");
  }
  double flops() const { return 3.0 * static_cast<double>(d_out.size()); }
};

}  // namespace msltx::ops
