// Profiler: an interceptor that adds up the time, operations and bytes of every kind of op. Nothing
// of it runs where it is not installed: an encode then tests one pointer.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>
#include <vector>

#include "msltx/ops/stream.h"

namespace msltx::ops {

struct ProfileRow {
  std::string_view op;
  int64_t calls = 0;
  double seconds = 0;  // of parallel ops as they passed; of serial ones summed over workers,
                       // divided by their number, as if evenly shared
  double flops = 0, bytes = 0;
};

class Profiler : public Interceptor {
 public:
  explicit Profiler(int workers) : slots_(static_cast<size_t>(workers) + 1) {}

  void before(const Encoding& encoding) override;
  void after(const Encoding& encoding) override;

  // One row per op that was called, the longest first.
  std::vector<ProfileRow> rows() const;
  void reset();

 private:
  using Clock = std::chrono::steady_clock;
  struct Sum {
    int64_t calls = 0, nanoseconds = 0;
    double flops = 0, bytes = 0;
  };
  // Slot 0 is the parallel stream's, slot w + 1 worker w's: nobody shares one.
  struct alignas(64) Slot {
    Clock::time_point begin;
    std::vector<Sum> sums = std::vector<Sum>(kOpCount);
  };
  Slot& slot(const Encoding& encoding) { return slots_[static_cast<size_t>(encoding.worker + 1)]; }

  std::vector<Slot> slots_;
};

}  // namespace msltx::ops
