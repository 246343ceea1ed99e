#include "msltx/generate/decoder.h"

#include <gtest/gtest.h>

#include <vector>

#include "model/tiny_model.h"
#include "msltx/base/error.h"

namespace msltx::generate {
namespace {

using model::copy_of;
using model::GPT;
using model::NormPlacement;
using model::Position;
using model::RandomBatch;
using model::tiny_config;

class DecoderOnBackend : public testing::TestWithParam<std::string_view> {
 protected:
  GPT make(NormPlacement placement, Position position) {
    model::GPTConfig config = tiny_config();
    config.context_length = 90;
    config.norm_placement = placement;
    config.positions = {position};
    return GPT(config, 5, {.backend = &ops::backend(GetParam())});
  }
};

// The logits after every prefix, from decoding the tokens in calls of `piece` at a time.
std::vector<float> decode(GPT& gpt, const int32_t* tokens, int64_t sequences, int64_t length,
                          int64_t piece) {
  Decoder decoder(gpt, sequences, length);
  gpt.run([&](ops::Stream& stream) {
    for (int64_t t = 0; t < length; t += piece) {
      const int64_t count = std::min(piece, length - t);
      std::vector<int32_t> part;
      for (int64_t b = 0; b < sequences; ++b) {
        part.insert(part.end(), tokens + b * length + t, tokens + b * length + t + count);
      }
      decoder.feed(stream, part.data(), count);
    }
  });
  return copy_of(decoder.logits());
}

TEST_P(DecoderOnBackend, EqualsTheFullForward) {
  for (const auto& [placement, position] : {std::pair{NormPlacement::pre, Position::learned},
                                            std::pair{NormPlacement::post, Position::learned},
                                            std::pair{NormPlacement::pre, Position::relative_t5},
                                            std::pair{NormPlacement::pre, Position::relative_xl}}) {
    GPT gpt = make(placement, position);
    const RandomBatch batch({2, 13}, 61);
    const Tensor hidden = gpt.forward(batch.tokens.data(), batch.shape);
    std::vector<float> z(2 * 13 * 61);
    gpt.logits(hidden, Tensor::host(z.data(), DType::float32, {26, 61}));
    const auto last = decode(gpt, batch.tokens.data(), 2, 13, 4);
    for (size_t b = 0; b < 2; ++b) {
      for (size_t v = 0; v < 61; ++v) {
        EXPECT_NEAR(last[b * 61 + v], z[(b * 13 + 12) * 61 + v], 1e-5);
      }
    }
  }
}

TEST_P(DecoderOnBackend, HasTheSameBitsHoweverTokensAreCutAndBatched) {
  constexpr int64_t kLength = 83;
  for (Position position : {Position::learned, Position::relative_t5, Position::relative_xl}) {
    GPT gpt = make(NormPlacement::pre, position);
    const RandomBatch batch({3, kLength}, 61);
    const int32_t* tokens = batch.tokens.data();
    const auto together = decode(gpt, tokens, 3, kLength, kLength);
    for (int64_t piece : {1, 5}) {
      EXPECT_EQ(decode(gpt, tokens, 3, kLength, piece), together)
          << word_of(position) << " " << piece;
    }
    for (int64_t b = 0; b < 3; ++b) {
      const auto alone = decode(gpt, tokens + b * kLength, 1, kLength, kLength);
      EXPECT_TRUE(std::equal(alone.begin(), alone.end(), together.begin() + b * 61))
          << word_of(position) << " " << b;
    }
  }
}

std::vector<std::string_view> backend_names() {
  std::vector<std::string_view> names;
  for (const ops::Backend* backend : ops::backends()) names.push_back(backend->name());
  return names;
}
INSTANTIATE_TEST_SUITE_P(Backends, DecoderOnBackend, testing::ValuesIn(backend_names()),
                         [](const auto& test) { return std::string(test.param); });

TEST(Decoder, RefusesMoreThanItHolds) {
  GPT gpt(tiny_config());
  EXPECT_THROW(Decoder(gpt, 1, 17), ValueError);
  EXPECT_THROW(Decoder(gpt, 0, 4), ValueError);
  Decoder decoder(gpt, 1, 4);
  const std::vector<int32_t> tokens{1, 2, 3, 4, 5};
  EXPECT_THROW(gpt.run([&](ops::Stream& s) { decoder.feed(s, tokens.data(), 5); }), ValueError);
}

}  // namespace
}  // namespace msltx::generate
