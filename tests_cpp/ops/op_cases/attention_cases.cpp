#include "ops/op_cases/spec.h"

#include <algorithm>
#include <utility>

namespace msltx::ops::op_cases {
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

}  // namespace

std::vector<Spec> attention_specs() {
  return {
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
  };
}

}  // namespace msltx::ops::op_cases
