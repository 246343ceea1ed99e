#include "ops/op_cases/spec.h"

namespace msltx::ops::op_cases {

std::vector<Spec> family_specs() {
  const Sizes rows = {{"N", 5}, {"C", 13}}, gates = {{"N", 5}, {"F", 13}};
  const std::vector<std::vector<Sizes>> row_shapes = {each({"N"}), each({"C"})};
  const std::vector<std::vector<Sizes>> gate_shapes = {each({"N"}), each({"F"})};
  const std::vector<std::vector<Sizes>> norm_shapes = {
      each({"N"}), each({"C"}), {{{"N", 300}, {"C", 768}}}};
  const std::vector<Variant> forms = {{}, {.attributes = {{"approximate", 1}}}};
  const Sizes rope = {{"B", 2}, {"nh", 3}, {"T", 5}, {"S", 9}, {"hs", 8}};
  std::vector<Sizes> pairs;
  for (int64_t size : {2, 4, 6, 14, 16, 18, 30, 32, 34, 62, 64, 66, 128, 510, 512, 514, 1026}) {
    pairs.push_back({{"hs", size}});
  }
  const std::vector<std::vector<Sizes>> rope_shapes = {each({"B"}), each({"nh"}), lengths(), pairs};
  const std::vector<Variant> rope_variants = {
      {},
      {.attributes = {{"layout", 1}}},
      {.attributes = {{"offset", 3}}, .omit = {"offsets"}},
      {.attributes = {{"layout", 1}, {"offset", 4}}, .omit = {"offsets"}}};
  const Sizes sequences = {{"B", 3}, {"T", 5}, {"C", 13}};
  const std::vector<std::vector<Sizes>> sequence_shapes = {each({"B"}), each({"T"}), each({"C"})};
  const std::vector<Variant> dropouts = {
      {.attributes = {{"p", 0.1}, {"seed", -5}, {"step", 70000}}},
      {.attributes = {{"p", 0.5}, {"first_sequence", 9}}, .omit = {"sequences"}},
      {.attributes = {{"p", 0}}},
      {.attributes = {{"p", 0.999}, {"seed", 3}}}};
  const Sizes logits = {{"N", 5}, {"V", 13}};
  const std::vector<std::vector<Sizes>> logit_shapes = {each({"N"}), each({"V"})};
  const std::vector<Variant> caps = {{.attributes = {{"cap", 2}}},
                                     {.attributes = {{"cap", 30}}},
                                     {.attributes = {{"cap", 1000}}},
                                     {.attributes = {{"cap", 5}}, .inputs = "huge"}};
  return {
      {"rmsnorm_forward",
       rows,
       norm_shapes,
       {{},
        {.omit = {"rstd"}},
        {.attributes = {{"eps", 0.1}}},
        {.attributes = {{"plus_one", 1}}},
        {.inputs = "zeros"}}},
      {"rmsnorm_backward_data",
       rows,
       norm_shapes,
       {{.attributes = {{"partial_rows", 2}}},
        {.attributes = {{"plus_one", 1}}},
        {.attributes = {{"partial_rows", 16}}, .omit = {"rstd"}},
        {.omit = {"d_gamma_partials"}},
        {.attributes = {{"partial_rows", 64}, {"plus_one", 1}}}}},
      {"rmsnorm_backward_weights",
       {{"P", 3}, {"C", 13}},
       {each({"P"}), each({"C"})},
       {{}, kAccumulate}},
      {"residual_rmsnorm_forward",
       rows,
       norm_shapes,
       {{}, {.attributes = {{"plus_one", 1}}}, {.omit = {"rstd"}}}},
      {"residual_rmsnorm_backward_data",
       rows,
       norm_shapes,
       {{.attributes = {{"partial_rows", 2}}},
        {.omit = {"d_sum"}},
        {.attributes = {{"partial_rows", 16}, {"plus_one", 1}}, .omit = {"rstd"}},
        {.omit = {"d_gamma_partials"}}}},

      {"silu_forward", rows, row_shapes, {{}, {.inputs = "huge"}}},
      {"silu_backward", rows, row_shapes, {{}, {.inputs = "huge"}}},
      {"relu_forward", rows, row_shapes, {{}, {.inputs = "huge"}}},
      {"relu_backward", rows, row_shapes, {{}, {.inputs = "huge"}}},
      {"sigmoid_forward", rows, row_shapes, {{}, {.inputs = "huge"}}},
      {"sigmoid_backward", rows, row_shapes, {{}, {.inputs = "huge"}}},
      {"swiglu_forward", gates, gate_shapes, {{}, {.inputs = "huge"}}},
      {"swiglu_backward", gates, gate_shapes, {{}, {.inputs = "huge"}}},
      {"geglu_forward", gates, gate_shapes, forms},
      {"geglu_backward", gates, gate_shapes, forms},

      {"rope_forward", rope, rope_shapes, rope_variants},
      {"rope_backward", rope, rope_shapes, rope_variants},

      {"dropout_forward", sequences, sequence_shapes, dropouts},
      {"dropout_backward", sequences, sequence_shapes, dropouts},

      {"softcap_logits", logits, logit_shapes, caps},
      {"softcap_logits_backward", logits, logit_shapes, caps},
      {"repetition_penalty",
       {{"N", 5}, {"V", 13}, {"M", 7}},
       {each({"N"}), each({"V"}), each({"M"})},
       {{.attributes = {{"penalty", 1.3}}}, {.attributes = {{"penalty", 0.5}}}}},

      {"transpose", {{"M", 5}, {"C", 13}}, {each({"M"}), each({"C"}), {{{"M", 300}, {"C", 130}}}}},
      {"cast", rows, row_shapes, {{.attributes = {{"dtype", 0}}}, {.attributes = {{"dtype", 1}}}}},
      {"adam",
       {{"N", 5}},
       {each({"N"}), {{{"N", 100003}}}},
       {{},
        {.attributes = {{"step", 1000}, {"lr", 0.1}, {"weight_decay", 0.5}}},
        {.attributes = {{"beta1", 0.5}, {"beta2", 0.95}, {"eps", 0.01}, {"step", 3}}},
        {.omit = {"grad_scale", "skip"}},
        {.inputs = "skip"}}},
      {"sgd",
       {{"N", 5}},
       {each({"N"}), {{{"N", 100003}}}},
       {{.attributes = {{"lr", 0.1}, {"momentum", 0.9}}},
        {.attributes = {{"lr", 0.1}, {"momentum", 0.9}, {"nesterov", 1}, {"weight_decay", 0.5}}},
        {.attributes = {{"momentum", 0.9}, {"nesterov", 1}}, .omit = {"m"}},
        {.omit = {"m", "grad_scale", "skip"}},
        {.inputs = "skip"}}},
  };
}

}  // namespace msltx::ops::op_cases
