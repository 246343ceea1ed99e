#include "msltx/optim/schedule.h"

#include <gtest/gtest.h>

#include "msltx/base/error.h"

namespace msltx::optim {
namespace {

TEST(Schedule, WarmsUpAndComesDown) {
  const Schedule s{ScheduleKind::cosine, 1.0, 0.1, 10, 110};
  EXPECT_DOUBLE_EQ(s.at(0), 0.1);
  EXPECT_DOUBLE_EQ(s.at(9), 1.0);
  EXPECT_DOUBLE_EQ(s.at(10), 1.0);
  EXPECT_DOUBLE_EQ(s.at(60), 0.55);
  EXPECT_DOUBLE_EQ(s.at(110), 0.1);
  EXPECT_DOUBLE_EQ(s.at(1000), 0.1);
}

TEST(Schedule, LinearAndConstant) {
  EXPECT_DOUBLE_EQ((Schedule{ScheduleKind::linear, 1.0, 0.0, 0, 10}.at(5)), 0.5);
  EXPECT_DOUBLE_EQ((Schedule{ScheduleKind::constant, 1.0, 0.0, 0, 10}.at(9)), 1.0);
}

TEST(Schedule, NamesAndRefusals) {
  for (auto kind : {ScheduleKind::cosine, ScheduleKind::linear, ScheduleKind::constant}) {
    EXPECT_EQ(schedule_kind(name_of(kind)), kind);
  }
  EXPECT_THROW(schedule_kind("stairs"), ValueError);
  EXPECT_THROW(check(Schedule{.learning_rate = 0}), ValueError);
  EXPECT_THROW(check(Schedule{.learning_rate = 1, .min_learning_rate = 2}), ValueError);
  EXPECT_THROW(check(Schedule{.warmup_steps = 5, .max_steps = 4}), ValueError);
  EXPECT_THROW(check(Schedule{.max_steps = 0}), ValueError);
}

}  // namespace
}  // namespace msltx::optim
