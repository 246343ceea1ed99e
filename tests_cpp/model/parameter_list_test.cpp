#include "msltx/model/parameter_list.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "msltx/base/error.h"

namespace msltx::model {
namespace {

using nlohmann::json;

int64_t sum(const std::vector<ParameterSpec>& specs) {
  int64_t n = 0;
  for (const auto& s : specs) n += s.size();
  return n;
}

// The plan's log: untied, sinusoidal, final norm, every bias. Context and heads do not enter.
TEST(ParameterList, CountsOfThePlan) {
  for (int64_t heads : {1, 2, 8}) {
    for (int64_t context : {16, 512}) {
      const json rest = {{"num_heads", heads},
                         {"context_length", context},
                         {"positions", "sinusoidal"},
                         {"tie_weights", false},
                         {"bias", true}};
      json a = {{"vocab_size", 100}, {"embedding_dim", 64}, {"num_layers", 2}, {"ff_dim", 256}};
      json b = {{"vocab_size", 1000}, {"embedding_dim", 256}, {"num_layers", 4}, {"ff_dim", 1024}};
      a.update(rest);
      b.update(rest);
      EXPECT_EQ(parameter_count(config_from_json(a)), 112996);
      EXPECT_EQ(parameter_count(config_from_json(b)), 3672552);
    }
  }
}

TEST(ParameterList, CountsOfPresets) {
  EXPECT_EQ(parameter_count(preset("gpt2")), 124439808);  // as Hugging Face counts gpt2
  const auto millions = [](const char* name) {
    return static_cast<double>(parameter_count(preset(name))) / 1e6;
  };
  EXPECT_NEAR(millions("1m"), 1.0, 0.1);
  EXPECT_NEAR(millions("4m"), 3.6, 0.2);
  EXPECT_NEAR(millions("11m"), 11.4, 0.3);
  EXPECT_NEAR(millions("25m"), 25, 2);
  EXPECT_NEAR(millions("125m"), 125, 5);
  EXPECT_NEAR(millions("350m"), 350, 20);
  EXPECT_NEAR(millions("760m"), 760, 25);
  EXPECT_NEAR(millions("mlx"), 177, 1);
}

TEST(ParameterList, ListAgreesWithCount) {
  const json small = {{"vocab_size", 50},
                      {"context_length", 8},
                      {"embedding_dim", 12},
                      {"num_layers", 3},
                      {"num_heads", 4}};
  for (const json& more : std::vector<json>{
           {},
           {{"tie_weights", false}},
           {{"norm_placement", "post"}},
           {{"norm_placement", "sandwich"}, {"qk_norm", true}, {"num_kv_heads", 2}},
           {{"activation", "swiglu"}, {"bias", false}, {"norm", "rmsnorm"}, {"positions", "none"}},
           {{"token_embedding_dim", 6}, {"head_dim", 5}, {"positions", "relative_t5"}}}) {
    json fields = small;
    if (!more.is_null()) fields.update(more);
    const GPTConfig c = config_from_json(fields);
    EXPECT_EQ(sum(parameter_list(c)), parameter_count(c)) << fields;
  }
}

TEST(ParameterList, NamesAndShapes) {
  const GPTConfig c = config_from_json({{"vocab_size", 50},
                                        {"context_length", 8},
                                        {"embedding_dim", 12},
                                        {"num_layers", 2},
                                        {"num_heads", 4},
                                        {"num_kv_heads", 2},
                                        {"head_dim", 5},
                                        {"ff_dim", 20},
                                        {"activation", "geglu"},
                                        {"token_embedding_dim", 6},
                                        {"norm_placement", "sandwich"},
                                        {"qk_norm", true},
                                        {"positions", {"learned", "relative_t5"}},
                                        {"tie_weights", false}});
  using Shape = std::vector<int64_t>;
  std::vector<std::pair<std::string, Shape>> expected = {{"embed.tokens.weight", {50, 6}},
                                                         {"embed.positions.weight", {8, 12}},
                                                         {"embed.relative.weight", {32, 4}},
                                                         {"embed.project.weight", {12, 6}}};
  for (const std::string b : {"blocks.0.", "blocks.1."}) {
    const std::vector<std::pair<std::string, Shape>> block = {
        {b + "norm1.weight", {12}},        {b + "norm1.bias", {12}},
        {b + "attn.qkv.weight", {40, 12}}, {b + "attn.qkv.bias", {40}},
        {b + "attn.q_norm.weight", {5}},   {b + "attn.k_norm.weight", {5}},
        {b + "attn.out.weight", {12, 20}}, {b + "attn.out.bias", {12}},
        {b + "norm1_post.weight", {12}},   {b + "norm1_post.bias", {12}},
        {b + "norm2.weight", {12}},        {b + "norm2.bias", {12}},
        {b + "ff.in.weight", {40, 12}},    {b + "ff.in.bias", {40}},
        {b + "ff.out.weight", {12, 20}},   {b + "ff.out.bias", {12}},
        {b + "norm2_post.weight", {12}},   {b + "norm2_post.bias", {12}}};
    expected.insert(expected.end(), block.begin(), block.end());
  }
  for (auto& tail : std::vector<std::pair<std::string, Shape>>{{"norm.weight", {12}},
                                                               {"norm.bias", {12}},
                                                               {"head.project.weight", {6, 12}},
                                                               {"head.weight", {50, 6}},
                                                               {"head.bias", {50}}}) {
    expected.push_back(tail);
  }
  std::vector<std::pair<std::string, Shape>> listed;
  std::map<std::string, ParameterSpec> by_name;
  for (const auto& s : parameter_list(c)) {
    listed.emplace_back(s.name, s.shape);
    by_name.emplace(s.name, s);
  }
  EXPECT_EQ(listed, expected);
  EXPECT_EQ(by_name.at("blocks.1.attn.out.weight").kind, ParameterKind::residual_matrix);
  EXPECT_EQ(by_name.at("blocks.1.ff.in.weight").kind, ParameterKind::matrix);
  EXPECT_EQ(by_name.at("blocks.1.ff.in.weight").layer, 1);
  EXPECT_EQ(by_name.at("norm.bias").kind, ParameterKind::bias);
  EXPECT_EQ(by_name.at("embed.tokens.weight").layer, -1);
}

TEST(ParameterList, PostPlacementHasNoFinalNorm) {
  const auto has_norm = [](const char* placement) {
    const GPTConfig c = preset("1m", {{"norm_placement", placement}});
    for (const auto& s : parameter_list(c)) {
      if (s.name == "norm.weight") return true;
    }
    return false;
  };
  EXPECT_TRUE(has_norm("pre"));
  EXPECT_FALSE(has_norm("post"));
  EXPECT_TRUE(has_norm("sublayer"));
}

TEST(ParameterList, RelativeXlHasAMatrixAndTwoVectorsPerHead) {
  // A matrix for the distances and two vectors per head in each block, instead of a row per place.
  EXPECT_EQ(parameter_count(preset("1m", {{"positions", "relative_xl"}})),
            parameter_count(preset("1m")) - 64 * 128 + 4 * (128 * 128 + 2 * 128));
}

}  // namespace
}  // namespace msltx::model
