#include "ops/op_cases/cases.h"

#include <algorithm>

#include "msltx/base/error.h"
#include "ops/op_cases/spec.h"

namespace msltx::ops::op_cases {

std::vector<Sizes> each(std::vector<std::string_view> letters) {
  std::vector<Sizes> list;
  for (int64_t size : {1, 2, 3, 17, 511, 512, 513, 1023, 1024, 1025, 2047, 2048, 2049}) {
    Sizes sizes;
    for (std::string_view letter : letters) sizes.push_back({letter, size});
    list.push_back(sizes);
  }
  return list;
}

std::vector<Sizes> lengths() {
  std::vector<Sizes> list = each({"T"});
  for (Sizes& sizes : list) sizes.push_back({"S", sizes[0].second + 4});
  return list;
}

namespace {

std::vector<Sizes> head_sizes() {
  std::vector<Sizes> list;
  for (int64_t size : {1, 3, 8, 16, 31, 32, 33, 48, 64, 80, 96, 128, 129, 256, 513}) {
    list.push_back({{"hs", size}});
  }
  return list;
}

// Query heads, key heads: equal, grouped, all on one.
const std::vector<Sizes> kHeads = {{{"nh", 1}, {"nkv", 1}},   {{"nh", 3}, {"nkv", 3}},
                                   {{"nh", 12}, {"nkv", 12}}, {{"nh", 6}, {"nkv", 2}},
                                   {{"nh", 4}, {"nkv", 1}},   {{"nh", 33}, {"nkv", 11}}};

// Larger than the tiles of attention in all axes, fewer queries than keys and the other way round.
const std::vector<Sizes> kAttention = {
    {{"B", 1}, {"nh", 2}, {"nkv", 2}, {"T", 193}, {"S", 193}, {"hs", 64}},
    {{"B", 2}, {"nh", 4}, {"nkv", 2}, {"T", 130}, {"S", 259}, {"hs", 32}},
    {{"B", 1}, {"nh", 1}, {"nkv", 1}, {"T", 1}, {"S", 1025}, {"hs", 64}},
    {{"B", 1}, {"nh", 2}, {"nkv", 1}, {"T", 150}, {"S", 70}, {"hs", 16}},
    {{"B", 3}, {"nh", 1}, {"nkv", 1}, {"T", 64}, {"S", 64}, {"hs", 128}}};

const Sizes kAttentionBase = {{"B", 2}, {"nh", 2}, {"nkv", 1}, {"T", 7}, {"S", 7}, {"hs", 8}};
// The variants without the optional inputs of scores, then some with these and the other options.
std::vector<Variant> with_score_options(std::vector<Variant> plain) {
  const std::vector<std::string_view> all = {"bias", "alibi_slopes", "document_starts"};
  for (Variant& variant : plain) variant.omit.insert(variant.omit.end(), all.begin(), all.end());
  const std::vector<Variant> more = {
      {.attributes = {{"window", 3}}, .omit = all},
      {.attributes = {{"window", 100}, {"softcap", 2}}, .omit = all},
      {.attributes = {{"window", 20}, {"causal", 0}}, .omit = {"alibi_slopes", "document_starts"}},
      {.omit = {"bias", "alibi_slopes"}},
      {.attributes = {{"softcap", 0.5}}, .omit = {"bias", "document_starts"}},
      {.omit = {"alibi_slopes", "document_starts"}, .inputs = "hidden by bias"},
      {.attributes = {{"causal", 0}}, .omit = {"bias"}},
      {.attributes = {{"window", 70}, {"softcap", 30}}}};
  plain.insert(plain.end(), more.begin(), more.end());
  return plain;
}

// The same for an op that takes of these inputs some only.
std::vector<Variant> with_score_options(std::vector<Variant> plain,
                                        std::initializer_list<std::string_view> inputs) {
  std::vector<Variant> all = with_score_options(std::move(plain));
  for (Variant& variant : all) {
    std::erase_if(variant.omit, [&](std::string_view name) {
      return std::find(inputs.begin(), inputs.end(), name) == inputs.end();
    });
  }
  return all;
}

// What comes on top where an op drops probabilities: without dropout its random streams are absent.
std::vector<Variant> with_dropout(std::vector<Variant> variants) {
  const Variant largest = variants.back();
  for (Variant& variant : variants) variant.omit.push_back("sequences");
  Variant seeded = variants.front(), all = largest;
  seeded.attributes.insert(seeded.attributes.end(), {{"dropout", 0.4}, {"first_sequence", 5}});
  all.attributes.insert(all.attributes.end(), {{"dropout", 0.1}, {"seed", 1e12}, {"step", 7}});
  variants.push_back(seeded);
  variants.push_back(all);
  return variants;
}

std::vector<Spec> specs() {
  return {
      {"embedding_forward",
       {{"N", 5}, {"V", 11}, {"C", 13}},
       {each({"N"}), each({"V"}), each({"C"})},
       {{}, {.attributes = {{"scale", 2.5}}}}},
      {"embedding_backward",
       {{"N", 5}, {"V", 11}, {"C", 13}},
       {each({"N"}), each({"V"}), each({"C"}), {{{"N", 700}, {"V", 300}, {"C", 130}}}},
       {{}, kAccumulate, {.inputs = "one token"}, {.attributes = {{"scale", 2.5}}}}},
      {"positional_embedding_add_forward",
       {{"B", 3}, {"T", 5}, {"S", 9}, {"C", 13}},
       {each({"B"}), each({"C"}), lengths()},
       {{}, {.omit = {"offsets"}}, {.attributes = {{"offset", 3}}, .omit = {"offsets"}}}},
      {"positional_embedding_add_backward",
       {{"B", 3}, {"T", 5}, {"S", 9}, {"C", 13}},
       {each({"B"}), each({"C"}), lengths()},
       {{}, kAccumulate, {.attributes = {{"offset", 3}}}}},

      {"layernorm_forward",
       {{"N", 5}, {"C", 13}},
       {each({"N"}), each({"C"}), {{{"N", 300}, {"C", 768}}}},
       {{},
        {.omit = {"beta"}},
        {.omit = {"mean", "rstd"}},
        {.attributes = {{"eps", 0.1}}},
        {.inputs = "far mean"}}},
      {"layernorm_backward_data",
       {{"N", 5}, {"C", 13}},
       {each({"N"}), each({"C"}), {{{"N", 300}, {"C", 384}}}},
       {{.attributes = {{"partial_rows", 2}}},
        {},
        {.attributes = {{"partial_rows", 16}}, .omit = {"mean", "rstd"}},
        {.omit = {"d_gamma_partials", "d_beta_partials"}},
        {.attributes = {{"partial_rows", 64}}, .omit = {"d_beta_partials"}, .inputs = "far mean"}}},
      {"layernorm_backward_weights",
       {{"P", 3}, {"C", 13}},
       {each({"P"}), each({"C"})},
       {{}, kAccumulate, {.omit = {"d_beta", "d_beta_partials"}}}},
      {"residual_layernorm_forward",
       {{"N", 5}, {"C", 13}},
       {each({"N"}), each({"C"}), {{{"N", 300}, {"C", 768}}}},
       {{}, {.omit = {"beta"}}, {.omit = {"mean", "rstd"}}}},
      {"residual_layernorm_backward_data",
       {{"N", 5}, {"C", 13}},
       {each({"N"}), each({"C"}), {{{"N", 300}, {"C", 384}}}},
       {{.attributes = {{"partial_rows", 2}}},
        {.omit = {"d_sum"}},
        {.attributes = {{"partial_rows", 16}}, .omit = {"mean", "rstd"}},
        {.omit = {"d_gamma_partials", "d_beta_partials"}}}},

      {"linear_forward",
       {{"N", 5}, {"C", 13}, {"O", 11}},
       {each({"N"}),
        each({"C"}),
        each({"O"}),
        {{{"N", 130}, {"C", 300}, {"O", 200}},
         {{"N", 65}, {"C", 513}, {"O", 1025}},
         {{"N", 1}, {"C", 384}, {"O", 1536}},
         {{"N", 6}, {"C", 5000}, {"O", 9}}}},
       {{.omit = {"pre"}},
        {.omit = {"pre", "bias"}},
        {.attributes = {{"activation", 1}}},
        {.attributes = {{"activation", 2}}},
        {.attributes = {{"activation", 1}}, .omit = {"bias", "pre"}},
        {.attributes = {{"activation", 3}}},
        {.attributes = {{"activation", 4}}}}},
      {"linear_backward_data",
       {{"N", 5}, {"C", 13}, {"O", 11}},
       {each({"N"}),
        each({"C"}),
        each({"O"}),
        {{{"N", 130}, {"C", 300}, {"O", 200}}, {{"N", 65}, {"C", 1025}, {"O", 513}}}},
       {{.attributes = {{"partial_rows", 2}}, .omit = {"pre", "d_pre"}},
        {.attributes = {{"activation", 1}, {"partial_rows", 64}}},
        {.attributes = {{"activation", 2}}},
        {.omit = {"pre", "d_pre", "d_bias_partials"}},
        {.attributes = {{"activation", 1}}, .omit = {"d_bias_partials"}},
        {.attributes = {{"activation", 3}}},
        {.attributes = {{"activation", 4}, {"partial_rows", 64}}}}},
      {"linear_backward_weights",
       {{"N", 5}, {"C", 13}, {"O", 11}, {"P", 2}},
       {each({"N"}),
        each({"C"}),
        each({"O"}),
        each({"P"}),
        {{{"N", 513}, {"C", 130}, {"O", 200}}, {{"N", 5000}, {"C", 33}, {"O", 17}}}},
       {{}, kAccumulate, {.omit = {"d_bias", "d_bias_partials"}}}},

      {"gelu_forward",
       {{"N", 5}, {"C", 13}},
       {each({"N"}), each({"C"})},
       {{}, {.attributes = {{"approximate", 1}}}}},
      {"gelu_backward",
       {{"N", 5}, {"C", 13}},
       {each({"N"}), each({"C"})},
       {{}, {.attributes = {{"approximate", 1}}}}},
      {"residual_add_forward", {{"N", 5}, {"C", 13}}, {each({"N"}), each({"C"})}},
      {"residual_add_backward", {{"N", 5}, {"C", 13}}, {each({"N"}), each({"C"})}},
      {"softmax_forward",
       {{"N", 5}, {"C", 13}},
       {each({"N"}), each({"C"}), {{{"N", 2}, {"C", 50257}}}},
       {{}, {.inputs = "masked"}}},
      {"softmax_backward", {{"N", 5}, {"C", 13}}, {each({"N"}), each({"C"})}},

      {"split_heads_forward",
       {{"B", 2}, {"nh", 3}, {"T", 5}, {"hs", 8}},
       {each({"B"}), each({"T"}), each({"nh"}), head_sizes()}},
      {"split_heads_backward",
       {{"B", 2}, {"nh", 3}, {"T", 5}, {"hs", 8}},
       {each({"B"}), each({"T"}), each({"nh"}), head_sizes()}},
      {"merge_heads_forward",
       {{"B", 2}, {"nh", 3}, {"T", 5}, {"hs", 8}},
       {each({"B"}), each({"T"}), each({"nh"}), head_sizes()}},
      {"merge_heads_backward",
       {{"B", 2}, {"nh", 3}, {"T", 5}, {"hs", 8}},
       {each({"B"}), each({"T"}), each({"nh"}), head_sizes()}},
      {"attention_scores_forward",
       kAttentionBase,
       {each({"S"}), each({"T"}), head_sizes(), kHeads, kAttention},
       with_score_options({{}, {.attributes = {{"causal", 0}}}, {.attributes = {{"scale", 0.3}}}})},
      {"attention_scores_backward",
       kAttentionBase,
       {each({"S"}), each({"T"}), head_sizes(), kHeads, kAttention},
       with_score_options({{}, {.attributes = {{"causal", 0}}}, {.attributes = {{"scale", 0.3}}}},
                          {"document_starts"})},
      {"attention_scores_backward_bias",
       {{"B", 2}, {"nh", 2}, {"T", 7}, {"S", 9}},
       {each({"S"}), each({"T"}), each({"B"})},
       {{.omit = {"document_starts"}},
        {.attributes = {{"accumulate", 1}, {"causal", 0}}, .omit = {"document_starts"}},
        {.attributes = {{"window", 5}}}}},
      {"attention_mix_forward",
       kAttentionBase,
       {each({"S"}), each({"T"}), head_sizes(), kHeads, kAttention},
       with_dropout({{}})},
      {"attention_mix_backward",
       kAttentionBase,
       {each({"S"}), each({"T"}), head_sizes(), kHeads, kAttention},
       with_dropout({{}})},
      {"flash_attention_forward",
       kAttentionBase,
       {each({"S"}),
        each({"T"}),
        each({"B"}),
        head_sizes(),
        kHeads,
        kAttention,
        {{{"B", 1}, {"nkv", 2}, {"T", 513}, {"S", 513}, {"hs", 16}},
         {{"B", 1}, {"nkv", 2}, {"T", 1025}, {"S", 1025}}}},
       with_dropout(with_score_options({{},
                                        {.omit = {"lse"}},
                                        {.attributes = {{"causal", 0}}},
                                        {.attributes = {{"scale", 0.3}}},
                                        {.inputs = "large scores"}}))},
      {"flash_attention_backward",
       kAttentionBase,
       {each({"S"}),
        each({"T"}),
        each({"B"}),
        head_sizes(),
        kHeads,
        kAttention,
        {{{"B", 1}, {"nkv", 2}, {"T", 513}, {"S", 513}, {"hs", 16}}}},
       with_dropout(with_score_options({{},
                                        {.attributes = {{"causal", 0}}},
                                        {.attributes = {{"scale", 0.3}}},
                                        {.inputs = "large scores"}}))},
      {"flash_attention_backward_bias",
       kAttentionBase,
       {each({"S"}), each({"T"}), each({"B"}), head_sizes(), kHeads, kAttention},
       with_dropout(with_score_options({{}, kAccumulate, {.attributes = {{"causal", 0}}}}))},
      {"relative_position_bias_forward",
       {{"R", 8}, {"nh", 2}, {"T", 7}, {"S", 9}},
       {each({"S"}), each({"T"}), {{{"R", 1}}, {{"R", 2}}, {{"R", 32}, {"T", 300}, {"S", 300}}}},
       {{.attributes = {{"max_distance", 5}}},
        {},
        {.attributes = {{"bidirectional", 1}, {"max_distance", 20}}}}},
      {"relative_position_bias_backward",
       {{"R", 8}, {"nh", 2}, {"T", 7}, {"S", 9}},
       {each({"S"}), each({"T"}), {{{"R", 1}}, {{"R", 2}}, {{"R", 32}, {"T", 300}, {"S", 300}}}},
       {{.attributes = {{"max_distance", 5}}},
        kAccumulate,
        {.attributes = {{"bidirectional", 1}, {"max_distance", 20}}}}},
      {"relative_attention_scores_forward",
       kAttentionBase,
       {each({"S"}), each({"T"}), head_sizes(), kHeads, kAttention},
       {{.omit = {"document_starts"}},
        {.attributes = {{"scale", 0.3}, {"window", 20}}},
        {.attributes = {{"window", 3}}, .omit = {"document_starts"}}}},
      {"relative_attention_scores_backward_data",
       kAttentionBase,
       {each({"S"}), each({"T"}), head_sizes(), kHeads, kAttention},
       {{.omit = {"document_starts"}},
        {.attributes = {{"scale", 0.3}, {"window", 20}}},
        {.attributes = {{"window", 3}}, .omit = {"document_starts"}}}},
      {"relative_attention_scores_backward_weights",
       kAttentionBase,
       {each({"S"}), each({"T"}), head_sizes(), kHeads, kAttention},
       {{.omit = {"document_starts"}},
        {.attributes = {{"scale", 0.3}, {"window", 20}, {"accumulate", 1}}},
        {.attributes = {{"window", 3}}, .omit = {"document_starts"}}}},

      {"kv_cache_append",
       {{"B", 3}, {"nkv", 2}, {"S", 9}, {"T", 4}, {"hs", 8}},
       {each({"B"}), each({"S"}), kHeads, each({"S", "T"}), head_sizes()}},
      {"kv_cache_gather",
       {{"M", 4}, {"B", 3}, {"nkv", 2}, {"S", 9}, {"hs", 8}},
       {each({"M"}), each({"B"}), each({"S"}), kHeads, head_sizes()}},
      {"attention_inference",
       {{"B", 3}, {"nh", 4}, {"nkv", 2}, {"T", 2}, {"S", 9}, {"hs", 8}},
       {each({"B"}),
        each({"S"}),
        head_sizes(),
        kHeads,
        {{{"T", 1}, {"S", 1025}, {"hs", 64}}, {{"T", 70}, {"S", 200}, {"hs", 32}}}},
       {{.omit = {"relative_bias", "alibi_slopes"}},
        {.attributes = {{"scale", 0.3}}, .omit = {"relative_bias", "alibi_slopes"}},
        {.omit = {"relative_bias", "alibi_slopes"}, .inputs = "short"},
        {.attributes = {{"window", 5}}, .omit = {"relative_bias", "alibi_slopes"}},
        {.attributes = {{"window", 100}, {"softcap", 2}}, .omit = {"relative_bias"}},
        {.attributes = {{"softcap", 0.5}}, .omit = {"alibi_slopes"}},
        {.inputs = "short"}}},

      {"softmax_cross_entropy_forward",
       {{"N", 5}, {"V", 13}},
       {each({"N"}), each({"V"}), {{{"N", 3}, {"V", 50257}}}},
       {{},
        {.omit = {"lse"}},
        {.attributes = {{"normalizer", 7}}},
        {.attributes = {{"ignore_index", 0}}},
        {.inputs = "all ignored"}}},
      {"softmax_cross_entropy_backward",
       {{"N", 5}, {"V", 13}},
       {each({"N"}), each({"V"}), {{{"N", 3}, {"V", 50257}}}},
       {{.attributes = {{"normalizer", 7}}},
        {},
        {.attributes = {{"ignore_index", 0}}},
        {.inputs = "all ignored"}}},
      {"linear_cross_entropy_forward",
       {{"N", 5}, {"C", 13}, {"V", 19}},
       {each({"N"}),
        each({"C"}),
        each({"V"}),
        {{{"N", 130}, {"C", 100}, {"V", 700}}, {{"N", 3}, {"C", 9}, {"V", 50257}}}},
       {{.omit = {"bias"}},
        {.attributes = {{"scale", 0.01}}},
        {.attributes = {{"logit_softcap", 2}}},
        {.attributes = {{"ignore_index", 0}}},
        {.inputs = "all ignored"}}},
      {"linear_cross_entropy_forward_backward",
       {{"N", 5}, {"C", 13}, {"V", 19}},
       {each({"N"}),
        each({"C"}),
        each({"V"}),
        {{{"N", 130}, {"C", 100}, {"V", 700}},
         {{"N", 600}, {"C", 17}, {"V", 300}},
         {{"N", 3}, {"C", 9}, {"V", 50257}},
         {{"N", 40}, {"C", 9}, {"V", 3500}},
         {{"N", 40}, {"C", 9}, {"V", 3600}},
         {{"N", 40}, {"C", 9}, {"V", 3700}}}},
       {{.omit = {"bias", "d_bias"}},
        {.attributes = {{"scale", 0.01}, {"accumulate", 1}}},
        {.attributes = {{"logit_softcap", 2}}},
        {.attributes = {{"accumulate", 1}}, .omit = {"bias", "d_bias"}},
        {.attributes = {{"ignore_index", 0}}},
        {.inputs = "all ignored"}}},

      {"zero", {{"N", 5}}, {each({"N"}), {{{"N", 100003}}}}},
      {"global_norm", {{"N", 5}}, {each({"N"}), {{{"N", 100003}}, {{"N", 1048577}}}}},
      {"clip",
       {{"N", 5}, {"M", 3}},
       {each({"N"}), {{{"N", 100003}}}},
       {{},
        {.omit = {"out", "x"}},
        {.attributes = {{"max_norm", 0}}},
        {.attributes = {{"max_norm", 1000}}, .omit = {"loss"}},
        {.attributes = {{"skip_always", 1}}},
        {.inputs = "infinite norm"},
        {.inputs = "loss not a number"}}},
      {"adamw",
       {{"N", 5}},
       {each({"N"}), {{{"N", 100003}}}},
       {{},
        {.attributes = {{"step", 1000}, {"lr", 0.1}, {"weight_decay", 0.5}}},
        {.attributes = {{"beta1", 0.5}, {"beta2", 0.95}, {"eps", 0.01}, {"step", 3}}},
        {.omit = {"grad_scale", "skip"}},
        {.inputs = "skip"}}},

      {"temperature_scale",
       {{"N", 5}, {"V", 13}},
       {each({"N"}), each({"V"})},
       {{.attributes = {{"temperature", 0.7}}}}},
      {"topk_mask",
       {{"N", 5}, {"V", 13}},
       {each({"N"}), each({"V"}), {{{"N", 2}, {"V", 50257}}}},
       {{.attributes = {{"k", 3}}},
        {.attributes = {{"k", 1}}, .inputs = "ties"},
        {.attributes = {{"k", 40}}, .inputs = "ties"},
        {.attributes = {{"k", 5}}, .inputs = "masked"}}},
      {"topp_mask",
       {{"N", 5}, {"V", 13}},
       {each({"N"}), each({"V"}), {{{"N", 2}, {"V", 50257}}}},
       {{.attributes = {{"p", 0.9}}},
        {.attributes = {{"p", 1}}},
        {.attributes = {{"p", 0.5}}, .inputs = "ties"},
        {.attributes = {{"p", 1e-6}}},
        {.attributes = {{"p", 0.8}}, .inputs = "masked"}}},
      {"argmax_sample",
       {{"N", 5}, {"V", 13}},
       {each({"N"}), each({"V"}), {{{"N", 2}, {"V", 50257}}}},
       {{}, {.inputs = "ties"}, {.inputs = "masked"}}},
      {"categorical_sample",
       {{"N", 5}, {"V", 13}},
       {each({"N"}), each({"V"}), {{{"N", 2}, {"V", 50257}}}},
       {{},
        {.attributes = {{"seed", -5}, {"step", 70000}}},
        {.attributes = {{"seed", 3}}, .omit = {"sequences"}},
        {.inputs = "masked"}}},
  };
}

const std::vector<Spec>& table() {
  static const std::vector<Spec> all = [] {
    std::vector<Spec> list = specs();
    for (Spec& spec : family_specs()) list.push_back(std::move(spec));
    return list;
  }();
  return all;
}

Case make(const Spec& spec, const Sizes& replaced, const Variant& variant, bool strided) {
  Case c{spec.base, variant.attributes, variant.omit, variant.inputs, strided};
  for (const auto& [letter, size] : replaced) {
    for (auto& entry : c.sizes) {
      if (entry.first == letter) entry.second = size;
    }
  }
  // Query heads share key heads evenly.
  for (auto& [letter, size] : c.sizes) {
    if (letter == "nkv" && c.size("nh") > 0 && c.size("nh") % size != 0) size = c.size("nh");
  }
  return c;
}

}  // namespace

int64_t Case::size(std::string_view letter) const {
  for (const auto& entry : sizes) {
    if (entry.first == letter) return entry.second;
  }
  return -1;
}

int64_t Case::largest_size() const {
  int64_t largest = 0;
  for (const auto& entry : sizes) largest = std::max(largest, entry.second);
  return largest;
}

bool Case::omits(std::string_view field) const {
  return std::find(omit.begin(), omit.end(), field) != omit.end();
}

std::string Case::describe() const {
  std::string text;
  for (const auto& [letter, size] : sizes) text += concat(letter, "=", size, " ");
  for (const auto& [name, value] : attributes) text += concat(name, "=", value, " ");
  for (std::string_view field : omit) text += concat("without ", field, " ");
  if (!inputs.empty()) text += concat("\"", inputs, "\" ");
  if (bfloat16) text += concat("bfloat16 wide=", wide, " ");
  return text + (strided ? "strided" : "contiguous");
}

std::vector<Case> cases_of(const OpInfo& info) {
  for (const Spec& spec : table()) {
    if (spec.op != info.name) continue;
    std::vector<Case> cases;
    for (const Variant& variant : spec.variants) {
      for (bool strided : {false, true}) cases.push_back(make(spec, {}, variant, strided));
    }
    size_t turn = 0;
    for (const auto& list : spec.shapes) {
      for (const Sizes& replaced : list) {
        const Variant& variant = spec.variants[turn % spec.variants.size()];
        cases.push_back(make(spec, replaced, variant, turn / spec.variants.size() % 2 == 1));
        ++turn;
      }
    }
    // Of rows and sequences there may be none, but for those of which others are picked.
    for (const auto& [letter, size] : spec.base) {
      if ((letter != "N" && letter != "B") || spec.op == "kv_cache_gather") continue;
      for (const Variant& variant : spec.variants) {
        if (variant.inputs.empty()) cases.push_back(make(spec, {{letter, 0}}, variant, false));
      }
    }
    return cases;
  }
  throw ValueError(concat("there are no cases for the op ", info.name));
}

DType type_of(const OpInfo& info, const Case& c, const FieldInfo& field) {
  if (field.element == Element::int32) return DType::int32;
  if (!field.chosen_by.empty()) {
    for (const auto& [name, value] : c.attributes) {
      if (name == field.chosen_by) return value == 0 ? DType::float32 : DType::bfloat16;
    }
  }
  if (!c.bfloat16 || field.element == Element::float32) return DType::float32;
  if (field.element == Element::compute) return DType::bfloat16;
  if (!field.type_of.empty()) return type_of(info, c, *info.find_field(field.type_of));
  unsigned bit = 1;
  for (const FieldInfo& other : info.fields) {
    if (&other == &field) break;
    if (other.element == Element::wide && other.type_of.empty()) bit <<= 1;
  }
  return (c.wide & bit) != 0 ? DType::float32 : DType::bfloat16;
}

std::vector<Case> bfloat16_cases_of(const OpInfo& info) {
  if (!info.has_compute_type()) return {};
  std::vector<Case> cases = cases_of(info);
  unsigned wide = 0;
  for (Case& c : cases) {
    c.bfloat16 = true;
    c.wide = wide++;
    const bool any = std::any_of(info.fields.begin(), info.fields.end(), [&](const FieldInfo& f) {
      return !c.omits(f.name) && type_of(info, c, f) == DType::bfloat16;
    });
    if (!any) c.wide = 0;
  }
  return cases;
}

}  // namespace msltx::ops::op_cases
