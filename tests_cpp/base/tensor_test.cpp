#include "msltx/base/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "msltx/base/arena.h"
#include "msltx/base/error.h"

namespace msltx {
namespace {

TEST(Tensor, SlicesReshapesAndSwaps) {
  std::vector<float> data(24);
  for (size_t i = 0; i < 24; ++i) data[i] = static_cast<float>(i);
  const Tensor t = Tensor::host(data.data(), DType::float32, {2, 3, 4});
  EXPECT_EQ(to_string(t), "float32 (2, 3, 4)");
  EXPECT_EQ(t.slice(1, 1, 2).data()[0], 4);
  EXPECT_EQ(t.rows(1, 1).data()[0], 12);
  EXPECT_FALSE(t.slice(2, 0, 2).contiguous());
  EXPECT_EQ(t.reshape({6, 4}).rows(5, 1).data()[3], 23);
  const Tensor swapped = t.swap_axes(0, 1);
  EXPECT_EQ(swapped.dim(0), 3);
  EXPECT_EQ(swapped.stride(1), 12);
  EXPECT_THROW(swapped.reshape({24}), ValueError);
  EXPECT_THROW(t.rows(1, 2), ValueError);
  EXPECT_FALSE(Tensor{}.rows(5, 5).defined());
}

TEST(Arena, AlignsAndRefuses) {
  Arena arena(256);
  const Tensor a = arena.allocate(DType::float32, {3});
  const Tensor b = arena.allocate(DType::bfloat16, {5});
  EXPECT_EQ(reinterpret_cast<uintptr_t>(b.data<bfloat16>()) % 64, 0u);
  EXPECT_EQ(b.buffer.byte_offset - a.buffer.byte_offset, 64);
  EXPECT_THROW(arena.allocate(DType::float32, {64}), ValueError);
}

TEST(BFloat16, RoundsToNearestEvenAndKeepsNan) {
  EXPECT_EQ(bfloat16(1.0f).bits, 0x3f80);
  EXPECT_EQ(bfloat16(std::bit_cast<float>(0x3f808000u)).bits, 0x3f80);  // tie to even
  EXPECT_EQ(bfloat16(std::bit_cast<float>(0x3f818000u)).bits, 0x3f82);
  EXPECT_EQ(bfloat16(std::bit_cast<float>(0x3f808001u)).bits, 0x3f81);
  EXPECT_TRUE(std::isnan(static_cast<float>(bfloat16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_TRUE(std::isnan(static_cast<float>(bfloat16(std::bit_cast<float>(0x7f800001u)))));
}

// Every upper half, with lower halves around the tie: the nearer of the two neighbours, in exact
// arithmetic, and of two as near the even one.
TEST(BFloat16, RoundsEveryUpperHalfBelowAtAndAboveTheTie) {
  for (uint32_t upper = 0; upper < 0x10000; ++upper) {
    for (const uint32_t lower : {0x0000u, 0x0001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      const uint32_t word = upper << 16 | lower;
      const auto x = std::bit_cast<float>(word);
      const uint16_t got = bfloat16(x).bits;
      if (std::isnan(x)) {
        ASSERT_EQ(got, (upper & 0xffffu) | 0x0040u) << std::hex << word;  // quiet, payload kept
        continue;
      }
      const uint32_t up = lower > 0x8000u || (lower == 0x8000u && upper % 2 == 1) ? 1 : 0;
      ASSERT_EQ(got, upper + up) << std::hex << word;
      if (lower == 0) {
        ASSERT_EQ(static_cast<float>(bfloat16(x)), x);
      }
    }
  }
}

}  // namespace
}  // namespace msltx
