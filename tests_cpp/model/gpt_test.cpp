#include "msltx/model/gpt.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>

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
                   BatchShape shape, bool poison = false, DType dtype = DType::float32) {
  Executor executor(threads);
  GPT model(config, 7, {.dtype = dtype, .backend = &ops::backend(backend), .executor = &executor});
  model.set_section_mode(mode);
  model.set_poison(poison);
  const RandomBatch batch(shape, config.vocab_size);
  const float loss =
      model.forward_backward(batch.tokens.data(), batch.targets.data(), shape, false, 0);
  return {loss, copy_of(model.parameters().gradients())};
}

class GPTOnBackend : public testing::TestWithParam<std::string_view> {};

// Scratch is for the workers that there are when the job begins, not when its caller queued up.
TEST_P(GPTOnBackend, TheNumberOfThreadsMayChangeWhileACallerWaits) {
  using std::chrono::milliseconds;
  for (auto mode : {ops::SectionMode::whole_batch, ops::SectionMode::by_chunk}) {
    Executor executor(1);
    GPT model(tiny_config(), 7, {.backend = &ops::backend(GetParam()), .executor = &executor});
    model.set_section_mode(mode);
    const RandomBatch batch({40, 16}, 61);
    const auto loss_of_step = [&] {
      return model.forward_backward(batch.tokens.data(), batch.targets.data(), batch.shape, false,
                                    0);
    };
    const float before = loss_of_step();
    std::atomic<bool> begun = false, go = false;
    std::thread first([&] {
      executor.run([&] {
        begun = true;
        while (!go) std::this_thread::yield();
      });
    });
    while (!begun) std::this_thread::yield();
    std::thread second([&] { executor.set_threads(4); });
    std::this_thread::sleep_for(milliseconds(20));
    float after = 0;
    std::thread third([&] { EXPECT_NO_THROW(after = loss_of_step()); });
    std::this_thread::sleep_for(milliseconds(20));
    go = true;
    for (std::thread* caller : {&first, &second, &third}) caller->join();
    EXPECT_EQ(before, after);
    EXPECT_EQ(executor.threads(), 4);
  }
}

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

struct InBfloat16 : testing::TestWithParam<std::tuple<std::string_view, NormPlacement>> {
  std::string_view backend_ = std::get<0>(GetParam());
  GPTConfig config_ = [] {
    GPTConfig config = tiny_config();
    config.norm_placement = std::get<1>(GetParam());
    config.context_length = 100;
    return config;
  }();
  Outcome outcome(DType dtype, int threads = 2, ops::SectionMode mode = ops::SectionMode::automatic,
                  bool poison = false) const {
    return outcome_of(config_, backend_.data(), threads, mode, {7, 100}, poison, dtype);
  }
};

TEST_P(InBfloat16, SameBitsAtAnyThreadCountInBothSectionModesAndWithPoison) {
  const Outcome first = outcome(DType::bfloat16, 1, ops::SectionMode::whole_batch);
  for (int threads : {1, 2, 3, 8}) {
    for (auto mode : {ops::SectionMode::whole_batch, ops::SectionMode::by_chunk}) {
      const Outcome other = outcome(DType::bfloat16, threads, mode, threads == 2);
      EXPECT_EQ(first.loss, other.loss) << threads;
      EXPECT_EQ(first.gradients, other.gradients) << threads;
    }
  }
}

TEST_P(InBfloat16, LossAndGradientsAreNearThoseOfFloat32) {
  const Outcome wide = outcome(DType::float32), narrow = outcome(DType::bfloat16);
  EXPECT_NEAR(narrow.loss, wide.loss, 2e-4 * wide.loss);
  EXPECT_NE(narrow.gradients, wide.gradients);
  double error = 0, size = 0;
  for (size_t i = 0; i < wide.gradients.size(); ++i) {
    error += std::pow(narrow.gradients[i] - wide.gradients[i], 2);
    size += std::pow(wide.gradients[i], 2);
  }
  EXPECT_LT(std::sqrt(error), 1e-2 * std::sqrt(size));
}

TEST_P(InBfloat16, TakesLessMemoryForActivations) {
  int64_t bytes[2];
  for (const DType dtype : {DType::float32, DType::bfloat16}) {
    GPT model(config_, 7, {.dtype = dtype, .backend = &ops::backend(backend_)});
    model.plan({7, 100}, Keep::for_backward);
    bytes[dtype == DType::bfloat16] = model.memory().activations;
  }
  EXPECT_LT(bytes[1], 0.8 * static_cast<double>(bytes[0]));
}

INSTANTIATE_TEST_SUITE_P(Backends, GPTOnBackend, testing::ValuesIn(backend_names()),
                         [](const auto& test) { return std::string(test.param); });

INSTANTIATE_TEST_SUITE_P(Backends, InBfloat16,
                         testing::Combine(testing::ValuesIn(backend_names()),
                                          testing::Values(NormPlacement::pre, NormPlacement::post)),
                         [](const auto& test) {
                           const bool pre = std::get<1>(test.param) == NormPlacement::pre;
                           return concat(std::get<0>(test.param), pre ? "_pre" : "_post");
                         });

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
