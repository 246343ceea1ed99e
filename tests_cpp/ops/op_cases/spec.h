// One op's cases as the table writes them, and lists of sizes that many ops share.
#pragma once

#include <string_view>
#include <vector>

#include "ops/op_cases/cases.h"

namespace msltx::ops::op_cases {

struct Variant {
  Attributes attributes = {};
  std::vector<std::string_view> omit = {};
  std::string_view inputs = {};
};

struct Spec {
  std::string_view op;
  Sizes base;                                   // small and odd; shapes replace some of these
  std::vector<std::vector<Sizes>> shapes;       // lists of replacements, one case each
  std::vector<Variant> variants = {Variant{}};  // all at the base sizes, in turn over the shapes
};

// Sizes around one, a vector register, powers of two and tiles; all letters get the same size.
std::vector<Sizes> each(std::vector<std::string_view> letters);

// As many tokens as each() has, in a table of positions that is longer.
std::vector<Sizes> lengths();

inline const Variant kAccumulate = {.attributes = {{"accumulate", 1}}};

// Embeddings, layer normalization, linear layers, GELU, residuals, softmax.
std::vector<Spec> layer_specs();
// Attention in parts, fused and against a cache.
std::vector<Spec> attention_specs();
// What layers end in: losses, gradients' norm and AdamW, samplers.
std::vector<Spec> output_specs();
// The family's other choices beside layer normalization, GELU, learned positions and AdamW.
std::vector<Spec> family_specs();

}  // namespace msltx::ops::op_cases
