#include "msltx/train/train_step.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "model/tiny_model.h"
#include "msltx/base/error.h"

namespace msltx::train {
namespace {

using model::BatchShape;
using model::copy_of;
using model::GPT;
using model::RandomBatch;
using model::tiny_config;

BatchSource random_source(BatchShape whole) {
  return [whole](int64_t step, int32_t* tokens, int32_t* targets, int32_t*) {
    const RandomBatch batch(whole, 61, static_cast<uint64_t>(step));
    std::copy(batch.tokens.begin(), batch.tokens.end(), tokens);
    std::copy(batch.targets.begin(), batch.targets.end(), targets);
  };
}

const optim::AdamWOptions kOptimizer{.weight_decay = 0.1f, .grad_clip = 1};
const optim::Schedule kSchedule{.learning_rate = 1e-2, .warmup_steps = 2, .max_steps = 20};

TEST(TrainStep, LearnsAndWaitsOncePerStep) {
  GPT model(tiny_config(), 3);
  const BatchShape whole{4, 16};
  const RandomBatch batch(whole, 61);
  TrainStep train(model, {whole, 1}, kOptimizer, kSchedule,
                  [&](int64_t, int32_t* x, int32_t* y, int32_t*) {
                    std::copy(batch.tokens.begin(), batch.tokens.end(), x);
                    std::copy(batch.targets.begin(), batch.targets.end(), y);
                  });
  const double first = train.run().loss;
  const int64_t scratch = model.memory().scratch;
  double last = first;
  for (int i = 0; i < 19; ++i) last = train.run().loss;
  EXPECT_NEAR(first, std::log(61.0), 0.2);
  EXPECT_LT(last, 0.7 * first);
  EXPECT_EQ(train.counts().waits, 1);
  EXPECT_EQ(model.memory().scratch, scratch);
}

class TrainStepIn : public testing::TestWithParam<DType> {};

INSTANTIATE_TEST_SUITE_P(DTypes, TrainStepIn, testing::Values(DType::float32, DType::bfloat16),
                         [](const auto& test) { return std::string(name_of(test.param)); });

TEST_P(TrainStepIn, ThreeStepsHaveTheSameBitsAtAnyThreadCountAndSectionMode) {
  std::vector<float> first;
  for (int threads : {1, 2, 3, 8}) {
    for (auto mode : {ops::SectionMode::whole_batch, ops::SectionMode::by_chunk}) {
      Executor executor(threads);
      auto config = tiny_config();
      config.context_length = 100;
      config.dropout = 0.1;
      GPT model(config, 3, {.dtype = GetParam(), .executor = &executor});
      model.set_section_mode(mode);
      const BatchShape whole{6, 100};
      TrainStep train(model, {whole, 1}, kOptimizer, kSchedule, random_source(whole));
      for (int i = 0; i < 3; ++i) train.run();
      const auto values = copy_of(model.parameters().values());
      if (first.empty()) first = values;
      EXPECT_EQ(values, first) << threads << " threads";
    }
  }
}

TEST(TrainStep, MicroBatchesWithUnequalPaddingEqualOneBatch) {
  const BatchShape whole{8, 12};
  const BatchSource padded = [&](int64_t step, int32_t* tokens, int32_t* targets, int32_t*) {
    random_source(whole)(step, tokens, targets, nullptr);
    for (int64_t b = 0; b < 8; ++b) {
      for (int64_t t = 12 - b; t < 12; ++t) targets[b * 12 + t] = -1;
    }
  };
  std::vector<std::vector<float>> gradients;
  std::vector<double> losses;
  auto config = tiny_config();
  config.dropout = 0.2;  // drawn by the sequence's number within the step
  for (int64_t micro : {1, 4}) {
    GPT model(config, 3);
    TrainStep train(model, {{8 / micro, 12}, micro}, kOptimizer, kSchedule, padded, -1, 9);
    losses.push_back(train.run().loss);
    gradients.push_back(copy_of(model.parameters().gradients()));
  }
  EXPECT_NEAR(losses[0], losses[1], 1e-6 * losses[0]);
  double difference = 0, norm = 0;
  for (size_t i = 0; i < gradients[0].size(); ++i) {
    difference += std::pow(gradients[0][i] - gradients[1][i], 2);
    norm += std::pow(gradients[0][i], 2);
  }
  EXPECT_LT(std::sqrt(difference), 1e-6 * std::sqrt(norm));
}

TEST(TrainStep, SkipsAStepWithoutTargetsAndANonFiniteOne) {
  GPT model(tiny_config(), 3);
  bool empty = true;
  const BatchShape whole{2, 8};
  TrainStep train(model, {whole, 1}, kOptimizer, kSchedule,
                  [&](int64_t step, int32_t* x, int32_t* y, int32_t*) {
                    random_source(whole)(step, x, y, nullptr);
                    if (empty) std::fill_n(y, 16, -1);
                  });
  const auto before = copy_of(model.parameters().values());
  const StepResult nothing = train.run();
  EXPECT_TRUE(nothing.skipped);
  EXPECT_EQ(nothing.loss, 0);
  EXPECT_EQ(nothing.counted, 0);
  EXPECT_EQ(copy_of(model.parameters().values()), before);
  EXPECT_EQ(train.optimizer().steps(), 0);

  empty = false;
  model.parameters().at("norm.weight").value.data()[0] = NAN;
  model.parameters().changed();
  const auto poisoned = copy_of(model.parameters().at("blocks.0.attn.qkv.weight").value);
  const StepResult bad = train.run();
  EXPECT_TRUE(bad.skipped);
  EXPECT_TRUE(std::isnan(bad.loss));
  EXPECT_EQ(copy_of(model.parameters().at("blocks.0.attn.qkv.weight").value), poisoned);
  EXPECT_EQ(train.next_step(), 2);
}

TEST(TrainStep, CancellingDropsTheStepWhole) {
  GPT model(tiny_config(), 3);
  const BatchShape whole{2, 8};
  struct CancelAtHead : ops::Interceptor {
    Executor& executor;
    bool armed = true;
    explicit CancelAtHead(Executor& e) : executor(e) {}
    void before(const ops::Encoding& e) override {
      if (armed && e.info.name == "linear_cross_entropy_forward_backward") executor.cancel();
    }
  } cancel(model.executor());
  TrainStep train(model, {whole, 1}, kOptimizer, kSchedule, random_source(whole));
  const auto before = copy_of(model.parameters().values());
  model.set_interceptor(&cancel);
  EXPECT_THROW(train.run(), Cancelled);
  EXPECT_EQ(copy_of(model.parameters().values()), before);
  EXPECT_EQ(train.next_step(), 0);
  cancel.armed = false;
  EXPECT_FALSE(train.run().skipped);
}

TEST(TrainStep, RefusesASecondCaller) {
  GPT model(tiny_config(), 3);
  const BatchShape whole{2, 8};
  TrainStep* self = nullptr;
  TrainStep train(model, {whole, 1}, kOptimizer, kSchedule,
                  [&](int64_t step, int32_t* x, int32_t* y, int32_t*) {
                    EXPECT_THROW(self->run(), BusyError);
                    random_source(whole)(step, x, y, nullptr);
                  });
  self = &train;
  train.run();
}

}  // namespace
}  // namespace msltx::train
