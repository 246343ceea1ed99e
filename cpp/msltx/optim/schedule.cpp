#include "msltx/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "msltx/base/error.h"

namespace msltx::optim {

ScheduleKind schedule_kind(std::string_view name) {
  for (auto kind : {ScheduleKind::cosine, ScheduleKind::linear, ScheduleKind::constant}) {
    if (name == name_of(kind)) return kind;
  }
  throw ValueError(concat("schedule is ", name, "; it takes cosine, linear or constant"));
}

std::string_view name_of(ScheduleKind kind) {
  switch (kind) {
    case ScheduleKind::cosine:
      return "cosine";
    case ScheduleKind::linear:
      return "linear";
    case ScheduleKind::constant:
      return "constant";
  }
  return "";
}

double Schedule::at(int64_t step) const {
  if (step < warmup_steps) {
    return learning_rate * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  }
  const auto span = static_cast<double>(std::max<int64_t>(1, max_steps - warmup_steps));
  const double done = std::min(1.0, static_cast<double>(step - warmup_steps) / span);
  switch (kind) {
    case ScheduleKind::cosine:
      return min_learning_rate +
             0.5 * (learning_rate - min_learning_rate) * (1 + std::cos(std::numbers::pi * done));
    case ScheduleKind::linear:
      return learning_rate + (min_learning_rate - learning_rate) * done;
    case ScheduleKind::constant:
      return learning_rate;
  }
  return learning_rate;
}

void check(const Schedule& s) {
  if (!(s.learning_rate > 0) || !std::isfinite(static_cast<float>(s.learning_rate))) {
    throw ValueError(concat("learning_rate is ", s.learning_rate,
                            "; it takes a number above 0, finite in float32"));
  }
  if (!(s.min_learning_rate >= 0 && s.min_learning_rate <= s.learning_rate)) {
    throw ValueError(concat("min_learning_rate is ", s.min_learning_rate,
                            "; it takes 0 to learning_rate, ", s.learning_rate));
  }
  if (s.max_steps < 1)
    throw ValueError(concat("max_steps is ", s.max_steps, "; it takes 1 or more"));
  if (s.warmup_steps < 0 || s.warmup_steps > s.max_steps) {
    throw ValueError(
        concat("warmup_steps is ", s.warmup_steps, "; it takes 0 to max_steps, ", s.max_steps));
  }
}

}  // namespace msltx::optim
