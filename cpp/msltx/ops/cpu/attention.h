// What the attention kernels of the cpu backend share: who sees whom, how scores are made, and the
// size of tiles.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "msltx/ops/attention_dropout.h"
#include "msltx/ops/attention_mask.h"
#include "msltx/ops/cpu/tasks.h"

namespace msltx::ops::cpu {

inline constexpr int64_t kQueries = 64;
inline constexpr int64_t kKeys = 256;
// Scores of a tile lie 272 floats apart: at 256, those of one key would share few cache sets.
inline constexpr int64_t kTileStride = kKeys + 16;
inline constexpr int64_t kTileFloats = kQueries * kTileStride;

// Keys with the room that packing them takes on any instruction set.
constexpr int64_t packed_keys(int64_t keys) { return (keys + 63) / 64 * 64; }

// Numbers on the inner dimension of a product go by words of 32 bits: one float32, or two
// neighbours of bfloat16.
template <class E>
inline constexpr int64_t kPerWord = static_cast<int64_t>(sizeof(float) / sizeof(E));
template <class E>
constexpr int64_t words(int64_t n) {
  return (n + kPerWord<E> - 1) / kPerWord<E>;
}

// Where the last of the tiles of T queries begins; negative where there is none.
constexpr int64_t last_tile(int64_t T) {
  return (T + kQueries - 1) / kQueries * kQueries - kQueries;
}

inline float scale_or_default(float scale, int64_t hs) {
  return scale != 0 ? scale : static_cast<float>(1 / std::sqrt(static_cast<double>(hs)));
}

// Of what follows there are two of each: one for attention without options but causal and scale,
// which knows that ranges begin at key 0 and grow with the query, and one for any options.

// Causal: query t of T sees the keys up to t + S - T.
struct Mask {
  bool causal;
  int64_t T, S;

  int64_t visible(int64_t t) const { return causal ? std::clamp<int64_t>(t + S - T + 1, 0, S) : S; }
  KeyRange keys(int64_t t) const { return {0, visible(t)}; }
  // What some of the queries [t, t + rows) see.
  KeyRange keys(int64_t t, int64_t rows) const { return {0, visible(t + rows - 1)}; }
  // Contains the queries of [t, t + rows) that see some of the keys [s, s + n), counted from t.
  KeyRange queries(int64_t s, int64_t, int64_t t, int64_t rows) const {
    return {causal ? std::clamp<int64_t>(s - (S - T) - t, 0, rows) : 0, rows};
  }
};

// With window and documents, in one sequence.
struct RuledMask {
  AttentionMask mask;
  int64_t b;

  KeyRange keys(int64_t t) const { return mask.keys(b, t); }
  KeyRange keys(int64_t t, int64_t rows) const {
    KeyRange all{mask.S, 0};
    for (int64_t r = t; r < t + rows; ++r) {
      const KeyRange seen = keys(r);
      if (seen.size() == 0) continue;
      all.begin = std::min(all.begin, seen.begin);
      all.end = std::max(all.end, seen.end);
    }
    return all.begin < all.end ? all : KeyRange{};
  }
  KeyRange queries(int64_t s, int64_t n, int64_t t, int64_t rows) const {
    const int64_t place = mask.place(t);
    const int64_t reach = std::min(mask.window, mask.S + mask.T);  // no overflow
    KeyRange all{0, rows};
    if (mask.causal) all.begin = s - place;
    if (reach > 0) all.end = s + n - 1 + reach - place;
    if (reach > 0 && !mask.causal) all.begin = s + 1 - reach - place;
    const int64_t begin = std::clamp<int64_t>(all.begin, 0, rows);
    return {begin, std::clamp(all.end, begin, rows)};
  }
};

// scores = scale q k^T
struct Scaled {
  static constexpr bool kRuled = false;
  float scale;
  Mask mask;
};

// scores = softcap(scale q k^T) + bias - slope distance, of one head in one sequence. `bias` has a
// row per query.
struct Ruled {
  static constexpr bool kRuled = true;
  float scale, softcap, slope;
  RuledMask mask;
  Matrix bias;
  AttentionDropout dropout{};
  int64_t h = 0;
};

// What becomes of the products of one query with keys: softcap(scale x) + bias - slope |place - i|,
// element i at the i-th key of those at hand.
struct RowRules {
  float scale, softcap = 0, slope = 0, place = 0;
  const float* bias = nullptr;
  bool more = false;  // than the scale
};

// Of query t, for the keys from k0 on.
inline RowRules row_rules(const Ruled& rules, int64_t t, int64_t k0) {
  return {.scale = rules.scale,
          .softcap = rules.softcap,
          .slope = rules.slope,
          .place = static_cast<float>(rules.mask.mask.place(t) - k0),
          .bias = rules.bias ? rules.bias.row(t) + k0 : nullptr,
          .more = true};
}

template <class Op>
bool has_rules(const Op& op) {
  if constexpr (requires { op.dropout; }) {
    if (op.dropout > 0) return true;
  }
  return op.window > 0 || op.softcap > 0 || op.bias.defined() || op.alibi_slopes.defined() ||
         op.document_starts.defined();
}

template <class Op>
Scaled scaled(const Op& op) {
  return {scale_or_default(op.scale, op.q.dim(3)), {op.causal, op.q.dim(2), op.k.dim(2)}};
}

// The last two dimensions of a (heads, rows, columns) tensor at [h], and a row of a matrix.
inline Matrix head_rows(const Tensor& t, int64_t h) {
  return {t.data() + h * t.stride(0), t.stride(1)};
}
inline float* row_of(const Tensor& t, int64_t i) { return t.data() + i * t.stride(0); }
// Rows from the last to the first.
inline Matrix reversed(Matrix m, int64_t rows) { return {m.row(rows - 1), -m.stride}; }

template <class Op>
Ruled ruled(const Op& op, int64_t b, int64_t h) {
  Ruled rules{.scale = scale_or_default(op.scale, op.q.dim(3)),
              .softcap = op.softcap,
              .slope = op.alibi_slopes.defined() ? op.alibi_slopes.template data<float>()[h] : 0,
              .mask = {mask_of(op, op.q.dim(2), op.k.dim(2)), b},
              .bias = op.bias.defined() ? head_rows(op.bias, h) : Matrix{},
              .h = h};
  if constexpr (requires { op.dropout; }) rules.dropout = AttentionDropout::of(op, op.q.dim(2));
  return rules;
}

}  // namespace msltx::ops::cpu
