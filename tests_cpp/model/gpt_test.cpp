#include "msltx/model/gpt.h"

#include <gtest/gtest.h>

#include <cmath>

#include "model/tiny_model.h"
#include "msltx/base/error.h"
#include "msltx/base/memory.h"

namespace msltx::model {
namespace {

struct Outcome {
  float loss;
  std::vector<float> gradients;
};

Outcome outcome_of(GPTConfig config, const char* backend, int threads, ops::SectionMode mode,
                   BatchShape shape, bool poison = false) {
  Executor executor(threads);
  GPT model(config, 7, {.backend = &ops::backend(backend), .executor = &executor});
  model.set_section_mode(mode);
  model.set_poison(poison);
  const RandomBatch batch(shape, config.vocab_size);
  const float loss =
      model.forward_backward(batch.tokens.data(), batch.targets.data(), shape, false, 0);
  return {loss, copy_of(model.parameters().gradients())};
}

class GPTOnBackend : public testing::TestWithParam<std::string_view> {};

TEST_P(GPTOnBackend, SameBitsAtAnyThreadCountAndInBothSectionModes) {
  for (NormPlacement placement : {NormPlacement::pre, NormPlacement::post}) {
    GPTConfig config = tiny_config();
    config.norm_placement = placement;
    config.context_length = 100;
    const BatchShape shape{7, 100};
    const Outcome first =
        outcome_of(config, GetParam().data(), 1, ops::SectionMode::whole_batch, shape);
    EXPECT_NEAR(first.loss, std::log(61.0f), 0.2f);
    for (int threads : {1, 2, 3, 8}) {
      for (auto mode : {ops::SectionMode::whole_batch, ops::SectionMode::by_chunk}) {
        const Outcome other = outcome_of(config, GetParam().data(), threads, mode, shape);
        EXPECT_EQ(first.loss, other.loss) << threads;
        EXPECT_EQ(first.gradients, other.gradients) << threads;
      }
    }
  }
}

TEST_P(GPTOnBackend, ReadsNothingOutsideItsDeclaredLife) {
  for (NormPlacement placement : {NormPlacement::pre, NormPlacement::post}) {
    GPTConfig config = tiny_config();
    config.norm_placement = placement;
    const Outcome clean =
        outcome_of(config, GetParam().data(), 2, ops::SectionMode::automatic, {4, 16});
    const Outcome poisoned =
        outcome_of(config, GetParam().data(), 2, ops::SectionMode::automatic, {4, 16}, true);
    EXPECT_EQ(clean.loss, poisoned.loss);
    EXPECT_EQ(clean.gradients, poisoned.gradients);
  }
}

TEST_P(GPTOnBackend, TrunkAndHeadApartEqualTheFusedCall) {
  GPTConfig config = tiny_config();
  config.tie_weights = false;
  GPT model(config, 7, {.backend = &ops::backend(GetParam())});
  const RandomBatch batch({2, 9}, config.vocab_size);
  model.forward_backward(batch.tokens.data(), batch.targets.data(), batch.shape, false, 0);
  const auto fused = copy_of(model.parameters().gradients());

  const Tensor hidden = model.forward(batch.tokens.data(), batch.shape);
  std::vector<float> z(static_cast<size_t>(18 * config.vocab_size));
  const Tensor logits = Tensor::host(z.data(), DType::float32, {18, config.vocab_size});
  model.logits(hidden, logits);
  for (size_t n = 0; n < 18; ++n) {
    float* row = z.data() + n * static_cast<size_t>(config.vocab_size);
    double sum = 0;
    for (int64_t v = 0; v < config.vocab_size; ++v) sum += std::exp(double{row[v]});
    for (int64_t v = 0; v < config.vocab_size; ++v) {
      row[v] = static_cast<float>((std::exp(double{row[v]}) / sum - (batch.targets[n] == v)) / 18);
    }
  }
  model.backward_from_logits(logits, false);
  const auto apart = copy_of(model.parameters().gradients());
  for (size_t i = 0; i < fused.size(); ++i) EXPECT_NEAR(fused[i], apart[i], 1e-6) << i;
  EXPECT_THROW(model.backward_from_logits(logits, false), ValueError);
}

TEST_P(GPTOnBackend, AccumulatingTwiceDoubles) {
  const GPTConfig config = tiny_config();
  GPT model(config, 7, {.backend = &ops::backend(GetParam())});
  const RandomBatch batch({2, 9}, config.vocab_size);
  model.forward_backward(batch.tokens.data(), batch.targets.data(), batch.shape, false, 0);
  const auto once = copy_of(model.parameters().gradients());
  model.forward_backward(batch.tokens.data(), batch.targets.data(), batch.shape, true, 0);
  const auto twice = copy_of(model.parameters().gradients());
  for (size_t i = 0; i < once.size(); ++i) EXPECT_NEAR(2 * once[i], twice[i], 1e-6) << i;
}

TEST_P(GPTOnBackend, EvaluationEqualsTheTrainingLoss) {
  const GPTConfig config = tiny_config();
  GPT model(config, 7, {.backend = &ops::backend(GetParam())});
  RandomBatch batch({3, 11}, config.vocab_size);
  batch.targets[5] = -1;
  const float mean =
      model.forward_backward(batch.tokens.data(), batch.targets.data(), batch.shape, false, 0);
  EXPECT_NEAR(model.evaluate_sum(batch.tokens.data(), batch.targets.data(), batch.shape) / 32, mean,
              1e-5);
  GPT fresh(config, 7, {.backend = &ops::backend(GetParam())});
  EXPECT_NEAR(fresh.evaluate_sum(batch.tokens.data(), batch.targets.data(), batch.shape) / 32, mean,
              1e-5);
}

std::vector<std::string_view> backend_names() {
  std::vector<std::string_view> names;
  for (const ops::Backend* backend : ops::backends()) names.push_back(backend->name());
  return names;
}

INSTANTIATE_TEST_SUITE_P(Backends, GPTOnBackend, testing::ValuesIn(backend_names()),
                         [](const auto& test) { return std::string(test.param); });

TEST(GPT, RefusesBadBatchesInOneSentence) {
  GPT model(tiny_config());
  RandomBatch batch({1, 4}, 61);
  batch.tokens[2] = 61;
  try {
    model.forward(batch.tokens.data(), batch.shape);
    FAIL();
  } catch (const ValueError& e) {
    EXPECT_STREQ(e.what(), "token 61 at position 2 is outside [0, 61), the model's vocab_size");
  }
  const RandomBatch longer({1, 17}, 61);
  EXPECT_THROW(model.forward(longer.tokens.data(), longer.shape), ValueError);
  EXPECT_THROW(model.forward(longer.tokens.data(), {0, 4}), ValueError);
}

TEST(GPT, RefusesWhatDoesNotFitInMemory) {
  GPTConfig config = tiny_config();
  GPT model(config, 0, {.memory_limit = 1 << 20});
  const RandomBatch batch({64, 16}, 61);
  EXPECT_THROW(model.forward(batch.tokens.data(), batch.shape), MemoryLimitError);
  config.embedding_dim = 2400;
  EXPECT_THROW(GPT(config, 0, {.memory_limit = 1 << 20}), MemoryLimitError);
}

TEST(GPT, MakingAndDroppingAHundredModelsLeavesMemoryFlat) {
  const RandomBatch batch({4, 16}, 61);
  const auto make = [&](int count) {
    for (int i = 0; i < count; ++i) {
      GPT model(tiny_config());
      model.forward_backward(batch.tokens.data(), batch.targets.data(), batch.shape, false, 0);
    }
    return peak_resident_memory();
  };
  const int64_t before = make(10);
  EXPECT_LT(make(100) - before, int64_t{2} << 20);
}

}  // namespace
}  // namespace msltx::model
