// Dropout of attention's probabilities, drawn from a counter: nothing is saved for the backward,
// which draws the same numbers again, and no number depends on how work was cut. Shared by the
// backends.
//
// Two words of philox(seed, dropout, step, sequence, h T + t) are the key of a generator that the
// query has to itself. For key s = 64 j + 16 w + i its word w of counter {16 j + i, 0, 0, 0} is
// taken, so that 16 counters serve 64 keys in a row; the probability is dropped where
// uniform_float(word) < rate, and else divided by 1 - rate.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include "msltx/base/philox.h"
#include "msltx/base/tensor.h"

namespace msltx::ops {

struct AttentionDropout {
  float rate = 0;
  int64_t seed = 0, step = 0, first_sequence = 0, T = 0;
  Tensor sequences{};

  template <class Op>
  static AttentionDropout of(const Op& op, int64_t T) {
    return {op.dropout, op.seed, op.step, op.first_sequence, T, op.sequences};
  }
  float kept() const { return 1 / (1 - rate); }  // the factor of what is kept
  // What the upper 24 bits of a word must reach to be kept.
  uint32_t threshold() const { return static_cast<uint32_t>(std::ceil(double{rate} * 0x1p24)); }
  std::array<uint32_t, 2> key(int64_t b, int64_t h, int64_t t) const {
    const int64_t sequence =
        sequences.defined() ? sequences.data<int32_t>()[b] : first_sequence + b;
    const Philox4 words =
        philox(static_cast<uint64_t>(seed), RandomStream::dropout, static_cast<uint32_t>(step),
               static_cast<uint32_t>(sequence), static_cast<uint32_t>(h * T + t));
    return {words[0], words[1]};
  }
  // The factor of one probability; `key` is its query's.
  float factor(std::array<uint32_t, 2> key, int64_t s) const {
    const auto counter = static_cast<uint32_t>(s / 64 * 16 + s % 16);
    const uint32_t word = philox4x32({counter, 0, 0, 0}, key)[static_cast<size_t>(s / 16 % 4)];
    return word >> 8 >= threshold() ? kept() : 0.0f;
  }
};

}  // namespace msltx::ops
