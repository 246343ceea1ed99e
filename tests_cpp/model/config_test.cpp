#include "msltx/model/config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "msltx/base/error.h"
#include "msltx/model/config_fields.h"

namespace msltx::model {
namespace {

using nlohmann::json;

json small() {
  return {{"vocab_size", 100},
          {"context_length", 32},
          {"embedding_dim", 64},
          {"num_layers", 2},
          {"num_heads", 4}};
}
json small_with(const json& more) {
  json fields = small();
  fields.update(more);
  return fields;
}
std::string refusal(const json& fields) {
  try {
    config_from_json(fields);
  } catch (const ValueError& e) {
    return e.what();
  }
  return "accepted";
}
std::string refusal_with(const json& more) { return refusal(small_with(more)); }

TEST(Config, OpenFieldsFollow) {
  const GPTConfig c = config_from_json(small());
  EXPECT_EQ(c.num_kv_heads, 4);
  EXPECT_EQ(c.head_dim, 16);
  EXPECT_EQ(c.ff_dim, 256);
  EXPECT_EQ(c.token_embedding_dim, 64);
  EXPECT_EQ(c.attention_scale, 0.25);
  EXPECT_TRUE(c.positions.has(Position::learned));
  EXPECT_TRUE(c.bias.qkv && c.bias.norm && c.bias.feed_forward && c.bias.attention_out);
  EXPECT_FALSE(c.bias.output);
  EXPECT_TRUE(c.tie_weights);
  EXPECT_EQ(c.norm_eps, 1e-5);
}

TEST(Config, BiasFollowsNormAndTying) {
  EXPECT_TRUE(config_from_json(small_with({{"tie_weights", false}})).bias.output);
  EXPECT_FALSE(config_from_json(small_with({{"norm", "rmsnorm"}})).bias.norm);
  const GPTConfig none = config_from_json(small_with({{"bias", false}, {"tie_weights", false}}));
  EXPECT_EQ(none.bias, BiasGroups::none());
  const GPTConfig some = config_from_json(small_with({{"bias", {{"qkv", false}}}}));
  EXPECT_FALSE(some.bias.qkv);
  EXPECT_TRUE(some.bias.feed_forward);
}

TEST(Config, GatedWidthIsEightThirdsRoundedUp) {
  const auto ff = [](int64_t width) {
    return config_from_json(small_with({{"embedding_dim", width}, {"activation", "swiglu"}}))
        .ff_dim;
  };
  EXPECT_EQ(ff(64), 192);    // 170.7
  EXPECT_EQ(ff(384), 1024);  // exactly
  EXPECT_EQ(ff(768), 2048);
}

TEST(Config, JsonThereAndBack) {
  const json full = small_with({{"norm", "rmsnorm"},
                                {"positions", {"rope", "alibi"}},
                                {"rope_scaling", {{"kind", "llama3"}, {"factor", 8}}},
                                {"activation", "geglu"},
                                {"bias", {{"qkv", true}, {"output", false}}},
                                {"sliding_window", {16, nullptr}},
                                {"num_kv_heads", 2},
                                {"dropout", 0.1},
                                {"logit_softcap", 30},
                                {"attention", "flash"}});
  const GPTConfig c = config_from_json(full);
  EXPECT_EQ(c.sliding_window, (std::vector<int64_t>{16, 0}));
  EXPECT_EQ(c.rope_scaling.original_context_length, 4);
  EXPECT_EQ(config_from_json(config_to_json(c)), c);
  EXPECT_EQ(config_from_json(json::parse(config_to_json(c).dump())), c);
  for (std::string_view name : preset_names()) {
    EXPECT_EQ(config_from_json(config_to_json(preset(name))), preset(name)) << name;
  }
  EXPECT_TRUE(config_from_json(small_with({{"positions", "none"}})).positions.empty());
  EXPECT_EQ(config_to_json(config_from_json(small_with({{"sliding_window", 8}})))["sliding_window"],
            8);
}

TEST(Config, RefusalsNameFieldValueAndLimit) {
  EXPECT_EQ(refusal_with({{"embedding_dim", 100}, {"num_heads", 3}}),
            "num_heads is 3; it must divide embedding_dim, 100, unless head_dim is given");
  EXPECT_EQ(refusal_with({{"embedding_dim", 100}, {"num_heads", 3}, {"head_dim", 32}}), "accepted");
  EXPECT_EQ(refusal_with({{"num_kv_heads", 3}}), "num_kv_heads is 3; it must divide num_heads, 4");
  EXPECT_EQ(refusal_with({{"num_layers", 0}}),
            "num_layers is 0; it takes an integer from 1 to 16384");
  EXPECT_EQ(refusal_with({{"vocab_size", -5}}),
            "vocab_size is -5; it takes an integer from 1 to 16777216");
  EXPECT_EQ(refusal_with({{"ff_dim", 0}}), "ff_dim is 0; it takes an integer from 1 to 4194304");
  EXPECT_EQ(refusal_with({{"context_length", 1e30}}),
            "context_length is 1e+30; it takes an integer from 1 to 16777216");
  EXPECT_EQ(refusal_with({{"context_length", UINT64_MAX}}),
            "context_length is 18446744073709551615; it takes an integer from 1 to 16777216");
  EXPECT_EQ(refusal_with({{"embedding_dim", "64"}}),
            "embedding_dim is \"64\"; it takes an integer from 1 to 1048576");
  EXPECT_EQ(refusal_with({{"num_heads", true}}),
            "num_heads is true; it takes an integer from 1 to 16384");
  EXPECT_EQ(refusal_with({{"dropout", 1}}), "dropout is 1; it takes a number from 0 to 0.99");
  for (const char* name : {"attention_softcap", "logit_softcap"}) {
    EXPECT_EQ(refusal_with({{name, 1e-40}}),
              concat(name, " is 1e-40; it takes a number from 1e-06 to 1000000000, or 0"));
    EXPECT_EQ(refusal_with({{name, 1e-6}}), "accepted");
    EXPECT_EQ(refusal_with({{name, 0}}), "accepted");
  }
  EXPECT_EQ(refusal_with({{"tie_weights", 1}}), "tie_weights is 1; it takes true or false");
  EXPECT_EQ(refusal_with({{"norm", "batch"}}),
            "norm is \"batch\"; it takes one of layernorm, rmsnorm");
  EXPECT_EQ(refusal_with({{"positions", {"learned", "rotary"}}}),
            "positions is [\"learned\",\"rotary\"]; it takes none, or one or a list of learned, "
            "sinusoidal, rope, relative_t5, relative_xl, alibi");
  EXPECT_EQ(refusal_with({{"bias", {{"qkv", 3}}}}), "bias.qkv is 3; it takes true or false");
  EXPECT_EQ(refusal_with({{"rope_scaling", {{"factor", 2}}}}),
            "rope_scaling.kind is missing; it takes one of none, linear, dynamic, yarn, llama3");
  EXPECT_EQ(refusal({{"vocab_size", 10}}),
            "context_length is missing; it takes an integer from 1 to 16777216");
  EXPECT_EQ(refusal_with({{"norm", "rmsnorm"}, {"bias", {{"norm", true}}}}),
            "bias.norm is true; norm rmsnorm has no bias");
  EXPECT_EQ(refusal_with({{"positions", "rope"}, {"head_dim", 7}}),
            "head_dim is 7; positions rope takes an even one");
  EXPECT_EQ(refusal(json::array({1, 2})), "a configuration is [1,2]; it takes an object of fields");
}

TEST(Config, UnknownNamesAreTaught) {
  EXPECT_EQ(refusal_with({{"n_embd", 64}}),
            "unknown field n_embd; it is called embedding_dim here");
  EXPECT_EQ(refusal_with({{"ffn_hidden_dim", 64}}),
            "unknown field ffn_hidden_dim; it is called ff_dim here");
  EXPECT_EQ(refusal_with({{"num_layer", 2}}), "unknown field num_layer; did you mean num_layers?");
  EXPECT_EQ(
      refusal_with({{"bias", {{"out", true}}}}),
      "unknown field bias.out; the fields are qkv, attention_out, feed_forward, norm, output");
  EXPECT_NE(refusal_with({{"zzzzzzzz", 2}}).find("the fields are vocab_size, context_length"),
            std::string::npos);
  for (const auto& [theirs, ours] :
       std::vector<std::pair<const char*, const char*>>{{"n_layer", "num_layers"},
                                                        {"n_head", "num_heads"},
                                                        {"max_sequence_length", "context_length"},
                                                        {"block_size", "context_length"},
                                                        {"hidden_size", "embedding_dim"},
                                                        {"intermediate_size", "ff_dim"},
                                                        {"num_key_value_heads", "num_kv_heads"},
                                                        {"tie_word_embeddings", "tie_weights"},
                                                        {"rope_theta", "rope_theta"},
                                                        {"nonsense", ""}}) {
    EXPECT_EQ(field_called(theirs), ours) << theirs;
  }
}

TEST(Config, NoNameMeansTwoFields) {
  std::vector<std::string> seen;
  GPTConfig c;
  visit_fields(c, [&](const Field& f, auto&) {
    seen.emplace_back(f.name);
    std::istringstream others{std::string(f.other_names)};
    for (std::string name; others >> name;) seen.push_back(name);
    EXPECT_FALSE(f.meaning.empty()) << f.name;
  });
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(std::adjacent_find(seen.begin(), seen.end()), seen.end());
}

TEST(Config, LargeSizesAreTakenAndImpossibleOnesAreNot) {
  EXPECT_EQ(refusal_with({{"embedding_dim", 16384},
                          {"ff_dim", 65536},
                          {"context_length", 131072},
                          {"vocab_size", 1048576},
                          {"num_layers", 126},
                          {"num_heads", 128}}),
            "accepted");
  const std::string text = refusal_with({{"embedding_dim", 1 << 20},
                                         {"head_dim", 1 << 16},
                                         {"num_heads", 1 << 14},
                                         {"num_layers", 1 << 14}});
  EXPECT_EQ(text.substr(0, 13), "the model has");
  EXPECT_NE(text.find("the limit is 4398046511104"), std::string::npos) << text;
}

TEST(Config, CppStructsAreCheckedToo) {
  GPTConfig c{
      .vocab_size = 10, .context_length = 8, .embedding_dim = 8, .num_layers = 1, .num_heads = 2};
  EXPECT_EQ(complete(c).head_dim, 4);
  EXPECT_EQ(complete(complete(c)), complete(c));
  c.norm_eps = std::nan("");
  EXPECT_THROW(complete(c), ValueError);
  c.norm_eps = 1e-5;
  c.num_heads = 0;
  EXPECT_THROW(complete(c), ValueError);
}

TEST(Config, ChangesFollowThrough) {
  const GPTConfig c = preset("4m");
  const GPTConfig wide = with_changes(c, {{"embedding_dim", 512}, {"num_heads", 4}});
  EXPECT_EQ(wide.ff_dim, 2048);
  EXPECT_EQ(wide.num_kv_heads, 4);
  EXPECT_EQ(wide.head_dim, 128);
  EXPECT_EQ(wide.token_embedding_dim, 512);
  EXPECT_EQ(wide.attention_scale, 1 / std::sqrt(128.0));
  EXPECT_TRUE(with_changes(c, {{"tie_weights", false}}).bias.output);
  const GPTConfig kept = with_changes(with_changes(c, {{"ff_dim", 100}}), {{"embedding_dim", 512}});
  EXPECT_EQ(kept.ff_dim, 100);
  EXPECT_EQ(with_changes(c, json::object()), c);
  EXPECT_EQ(preset("4m", {{"vocab_size", 5}}).vocab_size, 5);
  EXPECT_THROW(preset("5m"), ValueError);
}

TEST(Config, DifferencesAreNamed) {
  const GPTConfig c = config_from_json(small());
  EXPECT_EQ(differences(c, c), "");
  const GPTConfig other =
      with_changes(c, {{"num_layers", c.num_layers + 1}, {"bias", {{"qkv", false}}}});
  EXPECT_EQ(differences(c, other),
            concat("num_layers is ", c.num_layers, " there and ", other.num_layers,
                   " here, bias.qkv is true there and false here"));
}

TEST(Config, EssentialFieldsGiveTheConfigurationBack) {
  EXPECT_EQ(essential_fields(config_from_json(small())), small());
  const json more = {{"ff_dim", 100}, {"bias", {{"qkv", false}}}, {"norm", "rmsnorm"}};
  EXPECT_EQ(essential_fields(config_from_json(small_with(more))), small_with(more));
  EXPECT_EQ(essential_fields(config_from_json(small_with({{"ff_dim", 256}, {"dropout", 0}}))),
            small());
  for (std::string_view name : preset_names()) {
    EXPECT_EQ(config_from_json(essential_fields(preset(name))), preset(name)) << name;
  }
}

TEST(Config, TransformerXlPositionsGoWithFewOthers) {
  const std::string alone = "; relative_xl goes with learned and sinusoidal only";
  for (const char* other : {"rope", "relative_t5", "alibi"}) {
    EXPECT_EQ(refusal_with({{"positions", {"relative_xl", other}}}),
              concat("positions contains relative_xl and ", other, alone));
  }
  EXPECT_EQ(refusal_with({{"positions", "relative_xl"}, {"attention", "flash"}}),
            "attention is flash; positions relative_xl takes auto or plain");
  EXPECT_EQ(refusal_with({{"positions", "relative_xl"}, {"attention_softcap", 30}}),
            "attention_softcap is 30; positions relative_xl takes none");
  EXPECT_EQ(refusal_with({{"positions", {"relative_xl", "sinusoidal"}}, {"attention", "plain"}}),
            "accepted");
}

TEST(Config, DescribesEveryField) {
  const auto lines = describe_fields();
  const auto find = [&](std::string_view name) {
    return *std::find_if(lines.begin(), lines.end(), [&](const auto& l) { return l.name == name; });
  };
  EXPECT_EQ(find("vocab_size").otherwise, "required");
  EXPECT_EQ(find("head_dim").otherwise, "embedding_dim / num_heads");
  EXPECT_EQ(find("norm").otherwise, "layernorm");
  EXPECT_EQ(find("positions").otherwise, "[\"learned\"]");
  EXPECT_EQ(find("bias.output").otherwise, "not tie_weights");
  EXPECT_EQ(find("norm_eps").takes, "a number from 1e-12 to 0.1");
}

}  // namespace
}  // namespace msltx::model
