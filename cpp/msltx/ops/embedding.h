// Token embedding and learned or precomputed positions.
#pragma once

#include "msltx/ops/op.h"

namespace msltx::ops {

struct EmbeddingForward {
  static constexpr std::string_view name = "embedding_forward";
  static constexpr std::string_view summary = "out[n] = scale * weight[tokens[n]]";
  Tensor out, tokens, weight;
  float scale = 1;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &EmbeddingForward::out, "N C");
    v.reads("tokens", &EmbeddingForward::tokens, "N").int32().below("V");
    v.reads("weight", &EmbeddingForward::weight, "V C");
    v.attribute("scale", &EmbeddingForward::scale, "factor of every row");
  }
  double flops() const { return 0; }
};

struct EmbeddingBackward {
  static constexpr std::string_view name = "embedding_backward";
  static constexpr std::string_view summary =
      "d_weight[v] = sum of scale * d_out[n] over the rows n with tokens[n] = v, rows in order";
  Tensor d_weight, tokens, d_out;
  int64_t vocab_size = 0;
  bool accumulate = false;
  float scale = 1;

  template <class V>
  static void visit(V& v) {
    v.accumulates("d_weight", &EmbeddingBackward::d_weight, "V C").float32();
    v.reads("tokens", &EmbeddingBackward::tokens, "N").int32().below("V");
    v.reads("d_out", &EmbeddingBackward::d_out, "N C");
    v.attribute("vocab_size", &EmbeddingBackward::vocab_size, "V")
        .sets_axis("V")
        .required()
        .at_least(1);
    v.attribute("accumulate", &EmbeddingBackward::accumulate,
                "add to d_weight instead of writing it");
    v.attribute("scale", &EmbeddingBackward::scale, "as in the forward");
  }
  double flops() const { return static_cast<double>(d_out.size()); }
};

struct PositionalEmbeddingAddForward {
  static constexpr std::string_view name = "positional_embedding_add_forward";
  static constexpr std::string_view summary = "out[b, t] = x[b, t] + positions[offset_b + t]";
  Tensor out, x, positions, offsets;
  int64_t offset = 0;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &PositionalEmbeddingAddForward::out, "B T C").alias("x");
    v.reads("x", &PositionalEmbeddingAddForward::x, "B T C");
    v.reads("positions", &PositionalEmbeddingAddForward::positions, "S C", "one row per position");
    v.reads("offsets", &PositionalEmbeddingAddForward::offsets, "B",
            "position of each sequence's first token; offset is used where absent")
        .int32()
        .optional()
        .at_most("S - T");
    v.attribute("offset", &PositionalEmbeddingAddForward::offset, "position of the first token")
        .at_least(0)
        .at_most("S - T");
  }
  double flops() const { return static_cast<double>(x.size()); }
};

struct PositionalEmbeddingAddBackward {
  static constexpr std::string_view name = "positional_embedding_add_backward";
  static constexpr std::string_view summary =
      "d_positions[offset + t] = sum over b of d_out[b, t]; the gradient of x is d_out itself";
  Tensor d_positions, d_out;
  int64_t context_length = 0, offset = 0;
  bool accumulate = false;

  template <class V>
  static void visit(V& v) {
    v.accumulates("d_positions", &PositionalEmbeddingAddBackward::d_positions, "S C",
                  "rows that no token stands at get zero")
        .float32();
    v.reads("d_out", &PositionalEmbeddingAddBackward::d_out, "B T C");
    v.attribute("context_length", &PositionalEmbeddingAddBackward::context_length, "S")
        .sets_axis("S")
        .required()
        .at_least(1);
    v.attribute("offset", &PositionalEmbeddingAddBackward::offset, "position of the first token")
        .at_least(0)
        .at_most("S - T");
    v.attribute("accumulate", &PositionalEmbeddingAddBackward::accumulate,
                "add to d_positions instead of writing it");
  }
  double flops() const { return static_cast<double>(d_out.size()); }
};

}  // namespace msltx::ops
