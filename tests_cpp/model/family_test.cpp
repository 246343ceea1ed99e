// What must hold of every member of the family: the same bits at any thread count and in both
// section modes, and nothing read outside its declared life. Their numbers are tests_py's.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <tuple>

#include "model/tiny_model.h"
#include "msltx/base/error.h"

namespace msltx::model {
namespace {

using nlohmann::json;

struct Member {
  const char* name;
  json fields;
  bool documents = false;  // attention stays inside documents of 25 tokens
};

// Between them every norm placement and every part that keeps tensors of its own.
const std::vector<Member>& members() {
  static const std::vector<Member> list = {
      {"llama",
       {{"norm", "rmsnorm"},
        {"positions", "rope"},
        {"activation", "swiglu"},
        {"bias", false},
        {"num_heads", 4},
        {"num_kv_heads", 2},
        {"dropout", 0.2}},
       true},
      {"qwen", {{"norm", "rmsnorm"}, {"positions", "rope"}, {"qk_norm", true}, {"head_dim", 10}}},
      {"gemma",
       {{"norm", "rmsnorm"},
        {"norm_plus_one", true},
        {"norm_placement", "sandwich"},
        {"positions", "rope"},
        {"activation", "geglu"},
        {"sliding_window", {20, nullptr}},
        {"attention_softcap", 5},
        {"embedding_scale", 4.9},
        {"dropout", 0.2}}},
      {"sublayer",
       {{"norm_placement", "sublayer"}, {"positions", {"learned", "alibi"}}, {"dropout", 0.2}}},
      {"post_projected",
       {{"norm_placement", "post"}, {"token_embedding_dim", 9}, {"activation", "relu"}}},
      {"t5",
       {{"positions", {"relative_t5", "alibi"}},
        {"num_heads", 4},
        {"num_kv_heads", 2},
        {"dropout", 0.1}}},
      {"t5_in_parts",
       {{"positions", "relative_t5"},
        {"attention", "plain"},
        {"attention_softcap", 5},
        {"dropout", 0.1}},
       true},
      {"transformer_xl",
       {{"positions", "relative_xl"},
        {"qk_norm", true},
        {"sliding_window", {20, nullptr}},
        {"num_heads", 4},
        {"num_kv_heads", 2},
        {"dropout", 0.1}},
       true},
      {"post_dropout", {{"norm_placement", "post"}, {"dropout", 0.2}}},
  };
  return list;
}

GPTConfig config_of(const Member& member) {
  json fields = {{"vocab_size", 61},
                 {"context_length", 100},
                 {"embedding_dim", 24},
                 {"num_layers", 3},
                 {"num_heads", 3}};
  fields.update(member.fields);
  return config_from_json(fields);
}

// Holds every op against its own description: shapes, types, aliases and attributes.
struct CheckedOps : ops::Interceptor {
  int64_t seen = 0;
  void before(const ops::Encoding& e) override {
    ops::check(e.info, e.op);
    ++seen;
  }
  bool wants_order() const override { return true; }
};

struct Outcome {
  float loss;
  std::vector<float> gradients;
};

Outcome outcome_of(const Member& member, std::string_view backend, int threads,
                   ops::SectionMode mode, BatchShape shape, DType dtype, bool poison = false,
                   ops::Interceptor* interceptor = nullptr) {
  const GPTConfig config = config_of(member);
  Executor executor(threads);
  GPT model(config, 7, {.dtype = dtype, .backend = &ops::backend(backend), .executor = &executor});
  model.set_interceptor(interceptor);
  model.set_section_mode(mode);
  model.set_poison(poison);
  const RandomBatch batch(shape, config.vocab_size);
  std::vector<int32_t> documents;
  for (int64_t i = 0; i < shape.rows(); ++i) {
    documents.push_back(static_cast<int32_t>(i % shape.length / 25));
  }
  const Draw draw{.on = true, .seed = 5, .step = 3};
  const float loss =
      model.forward_backward(batch.tokens.data(), batch.targets.data(), shape, false, 0, -1, draw,
                             member.documents ? documents.data() : nullptr);
  return {loss, copy_of(model.parameters().gradients())};
}

class Family : public testing::TestWithParam<std::tuple<size_t, DType>> {
 protected:
  const Member& member() const { return members()[std::get<0>(GetParam())]; }
  DType dtype() const { return std::get<1>(GetParam()); }
};

TEST_P(Family, SlowButSameBitsAtAnyThreadCountAndInBothSectionModes) {
  for (const ops::Backend* backend : ops::backends()) {
    const BatchShape shape{5, 70};
    const Outcome first =
        outcome_of(member(), backend->name(), 1, ops::SectionMode::whole_batch, shape, dtype());
    EXPECT_TRUE(std::isfinite(first.loss));
    for (int threads : {1, 2, 3, 8}) {
      for (auto mode : {ops::SectionMode::whole_batch, ops::SectionMode::by_chunk}) {
        const Outcome other = outcome_of(member(), backend->name(), threads, mode, shape, dtype());
        EXPECT_EQ(first.loss, other.loss) << backend->name() << " " << threads;
        EXPECT_EQ(first.gradients, other.gradients) << backend->name() << " " << threads;
      }
    }
  }
}

TEST_P(Family, ReadsNothingOutsideItsDeclaredLife) {
  for (const ops::Backend* backend : ops::backends()) {
    const Outcome clean =
        outcome_of(member(), backend->name(), 2, ops::SectionMode::automatic, {4, 16}, dtype());
    const Outcome poisoned = outcome_of(member(), backend->name(), 2, ops::SectionMode::automatic,
                                        {4, 16}, dtype(), true);
    EXPECT_EQ(clean.loss, poisoned.loss);
    EXPECT_EQ(clean.gradients, poisoned.gradients);
  }
}

TEST_P(Family, CallsEveryOpAsItDescribesItself) {
  for (const ops::Backend* backend : ops::backends()) {
    CheckedOps checked;
    const Outcome outcome = outcome_of(member(), backend->name(), 2, ops::SectionMode::automatic,
                                       {3, 30}, dtype(), false, &checked);
    EXPECT_TRUE(std::isfinite(outcome.loss));
    EXPECT_GT(checked.seen, 60);
  }
}

std::string name_of_case(const testing::TestParamInfo<std::tuple<size_t, DType>>& test) {
  return concat(members()[std::get<0>(test.param)].name, "_", name_of(std::get<1>(test.param)));
}

INSTANTIATE_TEST_SUITE_P(Members, Family,
                         testing::Combine(testing::Range(size_t{0}, members().size()),
                                          testing::Values(DType::float32, DType::bfloat16)),
                         name_of_case);

}  // namespace
}  // namespace msltx::model
