// Permutation: a seeded shuffle of [0, size) whose i-th element is computed, not stored.
#pragma once

#include <cstdint>

namespace msltx::data {

// A Feistel network keyed by Philox over the least even power of two that holds the size; what
// falls outside goes through it again until it is inside (fewer than four times on average).
class Permutation {
 public:
  // `round` is a second key: the epoch.
  Permutation(int64_t size, uint64_t seed, uint32_t round);
  int64_t operator()(int64_t index) const;  // index in [0, size)

 private:
  uint64_t once(uint64_t value) const;

  uint64_t size_;
  uint64_t seed_;
  uint32_t round_;
  int half_bits_ = 1;
};

}  // namespace msltx::data
