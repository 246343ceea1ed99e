// What the attention kernels of the cpu backend share: who sees whom, and the size of tiles.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace msltx::ops::cpu {

inline constexpr int64_t kQueries = 64;
inline constexpr int64_t kKeys = 256;
// Scores of a tile lie 272 floats apart: at 256, those of one key would share few cache sets.
inline constexpr int64_t kTileStride = kKeys + 16;
inline constexpr int64_t kTileFloats = kQueries * kTileStride;

// Keys with the room that packing them takes on any instruction set.
constexpr int64_t packed_keys(int64_t keys) { return (keys + 63) / 64 * 64; }

// Where the last of the tiles of T queries begins; negative where there is none.
constexpr int64_t last_tile(int64_t T) {
  return (T + kQueries - 1) / kQueries * kQueries - kQueries;
}

inline float scale_or_default(float scale, int64_t hs) {
  return scale != 0 ? scale : static_cast<float>(1 / std::sqrt(static_cast<double>(hs)));
}

// Causal: query t of T sees the keys up to t + S - T.
struct Mask {
  bool causal;
  int64_t T, S;

  int64_t visible(int64_t t) const { return causal ? std::clamp<int64_t>(t + S - T + 1, 0, S) : S; }
  // The first query that sees key s, counted from query t.
  int64_t first_query(int64_t s, int64_t t) const {
    return causal ? std::max<int64_t>(s - (S - T) - t, 0) : 0;
  }
};

}  // namespace msltx::ops::cpu
