#include "msltx/model/memory_plan.h"

#include <gtest/gtest.h>

#include <cmath>

#include "msltx/base/error.h"

namespace msltx::model {
namespace {

TEST(MemoryPlan, SharesMemoryOnlyBetweenLivesThatDoNotMeet) {
  MemoryPlan plan;
  plan.add("a", DType::float32, {100}, 0, 1);
  plan.add("b", DType::float32, {100}, 1, 2);
  plan.add("c", DType::float32, {100}, 2, 3);
  plan.add("d", DType::float32, {10}, 0, 3);
  plan.lay_out();
  const auto entries = plan.entries();
  EXPECT_EQ(entries[0].offset, entries[2].offset);
  for (const auto& x : entries) {
    for (const auto& y : entries) {
      if (&x == &y || x.dies < y.born || y.dies < x.born) continue;
      EXPECT_TRUE(x.offset + x.bytes <= y.offset || y.offset + y.bytes <= x.offset)
          << x.name << " " << y.name;
    }
  }
  EXPECT_EQ(plan.bytes(), 2 * 448 + 64);
}

TEST(MemoryPlan, PoisonsWhatIsDead) {
  MemoryPlan plan;
  const size_t a = plan.add("a", DType::float32, {16}, 0, 0);
  const size_t b = plan.add("b", DType::float32, {16}, 0, 1);
  plan.lay_out();
  plan.allocate();
  plan.poison_dead(1);
  EXPECT_TRUE(std::isnan(plan.tensor(a).data()[15]));
  EXPECT_EQ(plan.tensor(b).data()[0], 0);
}

TEST(MemoryPlan, RefusesWhatCannotBeAddressed) {
  MemoryPlan plan;
  EXPECT_THROW(plan.add("huge", DType::float32, {int64_t{1} << 40, int64_t{1} << 40}, 0, 0),
               MemoryLimitError);
}

}  // namespace
}  // namespace msltx::model
