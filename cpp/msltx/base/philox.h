// Philox4x32-10, a counter-based random number generator: the i-th number of a stream is a function
// of (seed, stream, step, i), so nothing is saved and any thread can draw any number. Salmon,
// Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>

namespace msltx {

using Philox4 = std::array<uint32_t, 4>;

constexpr Philox4 philox4x32(Philox4 counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

// Which family of numbers is drawn: families never share a counter.
enum class RandomStream : uint32_t {
  initialization = 1,
  batches = 2,
  sampling = 3,
  dropout = 4,
  subsets = 5
};

// Four random words for one place: the index-th draw of a sequence (or document, or tensor) at a
// step.
constexpr Philox4 philox(uint64_t seed, RandomStream stream, uint32_t step, uint32_t sequence,
                         uint32_t index) {
  return philox4x32({index, sequence, step, static_cast<uint32_t>(stream)},
                    {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
}

// Uniform in [0, 1) with 24 bits.
constexpr float uniform_float(uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }
// Uniform in [0, 1) with 53 bits.
constexpr double uniform_double(uint32_t high, uint32_t low) {
  return static_cast<double>((uint64_t{high} << 32 | low) >> 11) * 0x1p-53;
}

// Two standard normal numbers from two words (Box and Muller 1958).
inline std::array<float, 2> normal_pair(uint32_t a, uint32_t b) {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform_double(a, 0)));
  const double angle = 6.283185307179586 * uniform_double(b, 0);
  return {static_cast<float>(radius * std::cos(angle)),
          static_cast<float>(radius * std::sin(angle))};
}

// FNV-1a, to turn a name into a number that never changes between builds.
constexpr uint64_t hash_name(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

}  // namespace msltx
