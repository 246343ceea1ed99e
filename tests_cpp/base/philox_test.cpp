#include "msltx/base/philox.h"

#include <gtest/gtest.h>

namespace msltx {
namespace {

// The known-answer vectors of the Random123 distribution for philox4x32-10.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (Philox4{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}));
  EXPECT_EQ(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (Philox4{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}));
  EXPECT_EQ(
      philox4x32({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u}),
      (Philox4{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}));
}

TEST(Philox, NormalNumbersHaveUnitVariance) {
  double sum = 0, squares = 0;
  const uint32_t n = 50000;
  for (uint32_t i = 0; i < n; ++i) {
    const auto words = philox(7, RandomStream::initialization, 0, 0, i);
    const auto pair = normal_pair(words[0], words[1]);
    for (float x : pair) {
      sum += x;
      squares += double{x} * x;
    }
  }
  EXPECT_NEAR(sum / (2 * n), 0, 0.02);
  EXPECT_NEAR(squares / (2 * n), 1, 0.02);
}

}  // namespace
}  // namespace msltx
