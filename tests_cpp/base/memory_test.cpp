#include "msltx/base/memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <limits>

#include "msltx/base/arena.h"

namespace msltx {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
// The system counts in batches of pages, and others allocate meanwhile.
constexpr int64_t kSlack = 16 * kMiB;

TEST(Memory, OnlyTouchedMemoryIsResident) {
  const int64_t before = resident_memory();
  if (before == std::numeric_limits<int64_t>::max()) GTEST_SKIP() << "the system does not say";
  const Arena arena(256 * kMiB);
  EXPECT_LT(resident_memory(), before + kSlack);
  std::memset(arena.data(), 1, static_cast<size_t>(64 * kMiB));
  EXPECT_GT(resident_memory(), before + 64 * kMiB - kSlack);
}

// A plan that was accepted but never used would otherwise let the next one take its memory twice.
TEST(Memory, FreeingGivesBackNoMoreThanIsResident) {
  const int64_t huge = std::numeric_limits<int64_t>::max();
  const int64_t available = available_memory(), resident = resident_memory();
  if (available == huge || resident == huge) GTEST_SKIP() << "the system does not say";
  // Other programs take and give back memory between the two looks.
  const int64_t others = available / 10 + kSlack;
  EXPECT_LT(available_memory_after_freeing(huge), available + resident + others);
  EXPECT_LT(available_memory_after_freeing(0), available + others);
  EXPECT_GT(available_memory_after_freeing(huge), available - others);
}

}  // namespace
}  // namespace msltx
