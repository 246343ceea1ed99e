// Learning-rate schedules: a linear warmup, then constant, linear or cosine down to a least rate.
#pragma once

#include <cstdint>
#include <string_view>

namespace msltx::optim {

enum class ScheduleKind : uint8_t { cosine, linear, constant };

// Throws ValueError naming the kinds there are.
ScheduleKind schedule_kind(std::string_view name);
std::string_view name_of(ScheduleKind kind);

struct Schedule {
  ScheduleKind kind = ScheduleKind::cosine;
  double learning_rate = 3e-4;
  double min_learning_rate = 0;
  int64_t warmup_steps = 0;
  int64_t max_steps = 1;

  // The rate of a step counted from 0: (step + 1) / warmup_steps of the full rate while warming up,
  // then along the curve so that step max_steps would have min_learning_rate.
  double at(int64_t step) const;
};

// Throws ValueError naming the field, its value and its limits.
void check(const Schedule& schedule);

}  // namespace msltx::optim
