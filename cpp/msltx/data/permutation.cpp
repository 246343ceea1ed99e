#include "msltx/data/permutation.h"

#include <bit>

#include "msltx/base/philox.h"

namespace msltx::data {
namespace {

// Four rounds make a Feistel network a good permutation (Luby and Rackoff 1988); two more for the
// few bits that small sizes have.
constexpr uint32_t kRounds = 6;

}  // namespace

Permutation::Permutation(int64_t size, uint64_t seed, uint32_t round)
    : size_(static_cast<uint64_t>(size)), seed_(seed), round_(round) {
  while (uint64_t{1} << 2 * half_bits_ < size_) ++half_bits_;
}

uint64_t Permutation::once(uint64_t value) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  uint64_t left = value >> half_bits_, right = value & mask;
  for (uint32_t k = 0; k < kRounds; ++k) {
    const auto random =
        philox(seed_, RandomStream::batches, round_, static_cast<uint32_t>(right), k)[0];
    const uint64_t next = left ^ (random & mask);
    left = right;
    right = next;
  }
  return left << half_bits_ | right;
}

int64_t Permutation::operator()(int64_t index) const {
  auto value = static_cast<uint64_t>(index);
  do {
    value = once(value);
  } while (value >= size_);
  return static_cast<int64_t>(value);
}

}  // namespace msltx::data
