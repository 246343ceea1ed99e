#include "msltx/ops/bandwidth.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

#include "msltx/base/arena.h"

namespace msltx::ops {
namespace {

constexpr int64_t kBytes = int64_t{1} << 30;
constexpr int64_t kPart = int64_t{4} << 20;  // of one task
constexpr int kRepetitions = 10;

// Eight sums side by side, so that no addition waits for another.
uint64_t sum_of_words(const uint64_t* words, int64_t count) {
  std::array<uint64_t, 8> sums{};
  for (int64_t i = 0; i < count; i += 8) {
    for (size_t j = 0; j < 8; ++j) sums[j] += words[i + static_cast<int64_t>(j)];
  }
  uint64_t sum = 0;
  for (const uint64_t s : sums) sum += s;
  return sum;
}

}  // namespace

double read_bandwidth(Executor& executor) {
  constexpr int64_t kParts = kBytes / kPart;
  constexpr int64_t kWords = kPart / static_cast<int64_t>(sizeof(uint64_t));
  const Arena arena(kBytes);
  auto* words = reinterpret_cast<uint64_t*>(arena.data());
  std::vector<uint64_t> sums(static_cast<size_t>(kParts));
  // Untouched pages would all be one page of zeros, read from cache.
  executor.parallel_for(kParts, [&](int64_t part, int) {
    executor.check_cancelled();
    std::fill_n(words + part * kWords, kWords, uint64_t{1});
  });
  using Clock = std::chrono::steady_clock;
  double best = 0;
  for (int i = 0; i < kRepetitions; ++i) {
    executor.check_cancelled();
    const auto begin = Clock::now();
    executor.parallel_for(kParts, [&](int64_t part, int) {
      // Read again below, so that the sums cannot be left out.
      sums[static_cast<size_t>(part)] += sum_of_words(words + part * kWords, kWords);
    });
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    best = std::max(best, static_cast<double>(kBytes) / seconds);
  }
  const bool all_read = std::all_of(sums.begin(), sums.end(), [](uint64_t sum) {
    return sum == uint64_t{kRepetitions} * static_cast<uint64_t>(kWords);
  });
  return all_read ? best : 0;
}

}  // namespace msltx::ops
