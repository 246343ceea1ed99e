// Progress of long work, told to whoever asked: a stage by name and how much of it is done.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace msltx::text {

struct Progress {
  std::string_view stage;  // "read", "merge", "encode"
  int64_t done = 0;
  int64_t total = 0;  // 0: not known
};

// Called from a worker, a few times a second at most by whoever shows it; may throw to stop the
// work.
using ProgressFn = std::function<void(const Progress&)>;

}  // namespace msltx::text
