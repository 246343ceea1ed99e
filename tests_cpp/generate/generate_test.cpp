#include "msltx/generate/generate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <set>

#include "model/tiny_model.h"
#include "msltx/base/error.h"

namespace msltx::generate {
namespace {

using model::GPT;
using model::tiny_config;

const std::vector<int32_t> kPrompt{3, 1, 4};

TEST(Generate, GreedyIsTheArgmaxOfTheFullForward) {
  GPT gpt(tiny_config(), 2);
  const Generation made = generate(gpt, kPrompt, {.max_tokens = 5, .sampler = {.temperature = 0}});
  ASSERT_EQ(made.tokens.size(), 5u);
  EXPECT_EQ(made.reason, FinishReason::max_tokens);
  std::vector<int32_t> sequence = kPrompt;
  for (int32_t token : made.tokens) {
    const auto length = static_cast<int64_t>(sequence.size());
    const Tensor hidden = gpt.forward(sequence.data(), {1, length}, model::Keep::nothing);
    std::vector<float> z(static_cast<size_t>(length * 61));
    gpt.logits(hidden, Tensor::host(z.data(), DType::float32, {length, 61}));
    const auto last = z.end() - 61;
    EXPECT_EQ(token, std::max_element(last, z.end()) - last);
    sequence.push_back(token);
  }
}

TEST(Generate, SameSeedSameTokensOtherSeedOthers) {
  GPT gpt(tiny_config(), 2);
  const auto with_seed = [&](uint64_t seed) {
    return generate(gpt, kPrompt,
                    {.max_tokens = 12, .sampler = {.top_k = 20, .top_p = 0.95, .seed = seed}})
        .tokens;
  };
  EXPECT_EQ(with_seed(1), with_seed(1));
  EXPECT_NE(with_seed(1), with_seed(2));
}

TEST(Generate, StopsForEveryReason) {
  GPT gpt(tiny_config(), 2);
  const Generation full =
      generate(gpt, kPrompt, {.max_tokens = 100, .sampler = {.temperature = 0}});
  EXPECT_EQ(full.reason, FinishReason::context);
  EXPECT_EQ(full.tokens.size(), 14u);  // 16 of context: the last one needs no place
  const Generation stopped =
      generate(gpt, kPrompt,
               {.max_tokens = 9, .sampler = {.temperature = 0}, .stop_tokens = {full.tokens[0]}});
  EXPECT_EQ(stopped.reason, FinishReason::stop_token);
  EXPECT_TRUE(stopped.tokens.empty());
  int seen = 0;
  const Generation told =
      generate(gpt, kPrompt, {.max_tokens = 9}, [&](int32_t) { return ++seen < 2; });
  EXPECT_EQ(told.reason, FinishReason::callback);
  EXPECT_EQ(told.tokens.size(), 2u);
  EXPECT_TRUE(generate(gpt, kPrompt, {.max_tokens = 0}).tokens.empty());
}

TEST(Generate, RefusesAModelWithoutFiniteLogits) {
  GPT gpt(tiny_config(), 2);
  const Tensor values = gpt.parameters().values();
  std::fill_n(values.data(), values.size(), std::numeric_limits<float>::quiet_NaN());
  gpt.parameters().changed();
  for (double temperature : {0.0, 1.0}) {
    EXPECT_THROW(generate(gpt, kPrompt, {.sampler = {.temperature = temperature}}), Error);
  }
}

TEST(Generate, RefusesBadInput) {
  GPT gpt(tiny_config(), 2);
  EXPECT_THROW(generate(gpt, {}, {}), ValueError);
  EXPECT_THROW(generate(gpt, std::vector<int32_t>(17, 1), {}), ValueError);
  EXPECT_THROW(generate(gpt, std::vector<int32_t>{61}, {}), ValueError);
  EXPECT_THROW(generate(gpt, kPrompt, {.sampler = {.temperature = -1}}), ValueError);
  EXPECT_THROW(generate(gpt, kPrompt, {.sampler = {.top_k = -1}}), ValueError);
  EXPECT_THROW(generate(gpt, kPrompt, {.sampler = {.top_p = 0}}), ValueError);
}

}  // namespace
}  // namespace msltx::generate
