// Relative positions; the formulas are in reference/relative.cpp. Faster than it: T5's bias is one
// row of distances per head, copied from or added to at an offset per query; Transformer-XL's
// position scores are a product with the encodings from the farthest to the nearest, of which a
// query's row needs only be read at an offset (the relative shift of Dai et al.), in tiles of
// registers as the other scores.
//
// One task per head, or per sequence and head (per key head in the backward for data, whose
// gradients it owns).
#include "msltx/ops/relative.h"

#include <cstring>

#include "msltx/ops/cpu/attention.h"
#include "msltx/ops/cpu/cpu.h"
#include "msltx/ops/cpu/tasks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "msltx/ops/cpu/relative.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "msltx/ops/cpu/attention-inl.h"

HWY_BEFORE_NAMESPACE();
namespace msltx::ops::cpu::HWY_NAMESPACE {

// by_distance[j] = sum over t of d_bias[t][j - (T - 1 - t)]: row t lies at an offset of T - 1 - t.
// Rows are added up in blocks in float32, across blocks in float64.
void add_diagonals(double* by_distance, float* block, Matrix d_bias, int64_t T, int64_t S) {
  constexpr int64_t kRows = 64;
  const int64_t distances = T + S - 1;
  for (int64_t j = 0; j < distances; ++j) by_distance[j] = 0;
  for (int64_t t0 = 0; t0 < T; t0 += kRows) {
    const int64_t end = HWY_MIN(T, t0 + kRows), first = T - end, last = T - 1 - t0 + S;
    fill(last - first, block + first, 0);
    for (int64_t t = t0; t < end; ++t) {
      float* at = block + (T - 1 - t);
      map(S, at, [](VF sum, VF x) { return hn::Add(sum, x); }, at, d_bias.row(t));
    }
    for (int64_t j = first; j < last; ++j) by_distance[j] += double{block[j]};
  }
}

// A tile of queries of one head against all keys: row t of `shifted` is its row of scores moved on
// by S - 1 - place, so that column j belongs to distance S - 1 - j.
struct RelativeTile {
  AttentionMask mask;
  int64_t b, t0, rows;

  KeyRange keys(int64_t r) const { return mask.keys(b, t0 + r); }
  KeyRange keys(int64_t r, int64_t n) const { return RuledMask{mask, b}.keys(t0 + r, n); }
  // Of a row of scores against its row of `shifted`.
  int64_t shift(int64_t r) const { return mask.S - 1 - mask.place(t0 + r); }
  KeyRange shifted(int64_t r, int64_t n) const {
    KeyRange all{mask.S, 0};
    for (int64_t i = r; i < r + n; ++i) {
      const KeyRange seen = keys(i);
      if (seen.size() == 0) continue;
      all.begin = HWY_MIN(all.begin, seen.begin + shift(i));
      all.end = HWY_MAX(all.end, seen.end + shift(i));
    }
    return all.begin < all.end ? all : KeyRange{};
  }
};

// to = x + y, rows of n
HWY_INLINE void add_to_rows(Matrix to, Matrix x, const float* y, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; ++r) {
    map(n, to.row(r), [](VF a, VF b) { return hn::Add(a, b); }, x.row(r), y);
  }
}

void relative_scores_forward_head(const RelativeAttentionScoresForward& op, int64_t b, int64_t h,
                                  float* scratch) {
  const int64_t T = op.q.dim(2), S = op.k.dim(2), hs = op.q.dim(3), width = packed_keys(S);
  const int64_t kv = h / (op.q.dim(1) / op.k.dim(1));
  const Matrix q = matrix(op.q, b, h), k = matrix(op.k, b, kv), out = matrix(op.out, b, h);
  const Matrix r = head_rows(op.r, h), position_scores{scratch, width};
  const Matrix query{scratch + kQueries * width, hs};
  float* packed = query.data + kQueries * hs;
  const Right keys = pack_transposed(packed, k, S, hs);
  const Right encodings = pack_transposed(packed + width * hs, reversed(r, S), S, hs);
  const VF scale = set(scale_or_default(op.scale, hs));
  for (int64_t t0 = 0; t0 < T; t0 += kQueries) {
    const RelativeTile tile{relative_mask(op), b, t0, HWY_MIN(kQueries, T - t0)};
    const Matrix from{q.row(t0), q.stride}, to{out.row(t0), out.stride};
    add_to_rows(query, from, row_of(op.position_bias, h), tile.rows, hs);
    multiply(position_scores, {query.data, hs, 1}, encodings, tile.rows, S, hs, false,
             [&](int64_t i, int64_t n) {
               const KeyRange seen = tile.shifted(i, n);
               return Range{seen.end, 0, hs, seen.begin};
             });
    add_to_rows(query, from, row_of(op.content_bias, h), tile.rows, hs);
    multiply(to, {query.data, hs, 1}, keys, tile.rows, S, hs, false, [&](int64_t i, int64_t n) {
      const KeyRange seen = tile.keys(i, n);
      return Range{seen.end, 0, hs, seen.begin};
    });
    for (int64_t i = 0; i < tile.rows; ++i) {
      const KeyRange seen = tile.keys(i);
      float* row = to.row(i);
      const int64_t shift = seen.size() > 0 ? tile.shift(i) : 0;
      const float* moved = position_scores.row(i) + shift + seen.begin;
      map(
          seen.size(), row + seen.begin, [&](VF x, VF y) { return hn::Mul(hn::Add(x, y), scale); },
          row + seen.begin, moved);
      fill(seen.begin, row, -kInfinity);
      fill(S - seen.end, row + seen.end, -kInfinity);
    }
  }
}

// ds = scale d_out where seen, as rows of scores and as shifted rows; zeros elsewhere.
HWY_INLINE void gradient_tiles(const RelativeTile& tile, Matrix ds, Matrix shifted, Matrix d_out,
                               float scale) {
  const int64_t S = tile.mask.S;
  for (int64_t i = 0; i < tile.rows; ++i) {
    const KeyRange seen = tile.keys(i);
    if (seen.size() == 0) {  // its shift may lead past the row
      fill(S, ds.row(i), 0);
      fill(S, shifted.row(i), 0);
      continue;
    }
    const float* from = d_out.row(tile.t0 + i) + seen.begin;
    for (const auto& [m, first] : {std::pair{ds.row(i), seen.begin},
                                   std::pair{shifted.row(i), seen.begin + tile.shift(i)}}) {
      fill(first, m, 0);
      map(seen.size(), m + first, [&](VF x) { return hn::Mul(x, set(scale)); }, from);
      fill(S - first - seen.size(), m + first + seen.size(), 0);
    }
  }
}

// d_q (+)= ds k, and with the encodings in the place of the keys.
HWY_INLINE void mix_tile(const RelativeTile& tile, Matrix out, Matrix weights, Matrix x, int64_t hs,
                         bool of_shifted, bool accumulate) {
  multiply(out, {weights.data, weights.stride, 1}, right(x), tile.rows, hs, tile.mask.S, accumulate,
           [&](int64_t i, int64_t n) {
             const KeyRange seen = of_shifted ? tile.shifted(i, n) : tile.keys(i, n);
             return Range{hs, seen.begin, seen.end};
           });
}

void relative_scores_backward_data_head(const RelativeAttentionScoresBackwardData& op, int64_t b,
                                        int64_t kv, float* scratch) {
  const int64_t T = op.q.dim(2), S = op.k.dim(2), hs = op.q.dim(3), width = packed_keys(S);
  const int64_t group = op.q.dim(1) / op.k.dim(1);
  const Matrix k = matrix(op.k, b, kv), d_k = matrix(op.d_k, b, kv);
  const Matrix ds{scratch, width}, shifted{scratch + kQueries * width, width},
      query{scratch + 2 * kQueries * width, hs};
  const float scale = scale_or_default(op.scale, hs);
  zero_rows(d_k, 0, S, hs);
  for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
    const Matrix q = matrix(op.q, b, h), d_q = matrix(op.d_q, b, h);
    for (int64_t t0 = 0; t0 < T; t0 += kQueries) {
      const RelativeTile tile{relative_mask(op), b, t0, HWY_MIN(kQueries, T - t0)};
      const Matrix to{d_q.row(t0), d_q.stride};
      gradient_tiles(tile, ds, shifted, matrix(op.d_out, b, h), scale);
      mix_tile(tile, to, ds, k, hs, false, false);
      mix_tile(tile, to, shifted, reversed(head_rows(op.r, h), S), hs, true, true);
      add_to_rows(query, {q.row(t0), q.stride}, row_of(op.content_bias, h), tile.rows, hs);
      multiply(d_k, {ds.data, 1, width}, right(query), S, hs, tile.rows, true);
    }
  }
}

// Adds rows up into `sums`.
HWY_INLINE void add_rows(double* sums, Matrix x, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < n; ++i) sums[i] += double{x.row(r)[i]};
  }
}

void relative_scores_backward_weights_head(const RelativeAttentionScoresBackwardWeights& op,
                                           int64_t h, float* scratch) {
  const int64_t T = op.q.dim(2), S = op.k.dim(2), hs = op.q.dim(3), width = packed_keys(S);
  const int64_t kv = h / (op.q.dim(1) / op.k.dim(1));
  auto* sums = reinterpret_cast<double*>(scratch);
  scratch += 4 * hs;
  const Matrix ds{scratch, width}, shifted{scratch + kQueries * width, width},
      query{scratch + 2 * kQueries * width, hs};
  const Matrix r = reversed(head_rows(op.r, h), S), d_r = head_rows(op.d_r, h);
  const float scale = scale_or_default(op.scale, hs);
  const Tensor* biases[2] = {&op.d_content_bias, &op.d_position_bias};
  for (int64_t i = 0; i < 2 * hs; ++i) {
    sums[i] = op.accumulate ? double{row_of(*biases[i / hs], h)[i % hs]} : 0.0;
  }
  if (!op.accumulate) zero_rows(d_r, 0, S, hs);
  for (int64_t b = 0; b < op.q.dim(0); ++b) {
    const Matrix q = matrix(op.q, b, h), k = matrix(op.k, b, kv);
    for (int64_t t0 = 0; t0 < T; t0 += kQueries) {
      const RelativeTile tile{relative_mask(op), b, t0, HWY_MIN(kQueries, T - t0)};
      gradient_tiles(tile, ds, shifted, matrix(op.d_out, b, h), scale);
      add_to_rows(query, {q.row(t0), q.stride}, row_of(op.position_bias, h), tile.rows, hs);
      multiply(reversed(d_r, S), {shifted.data, 1, width}, right(query), S, hs, tile.rows, true);
      mix_tile(tile, query, ds, k, hs, false, false);
      add_rows(sums, query, tile.rows, hs);
      mix_tile(tile, query, shifted, r, hs, true, false);
      add_rows(sums + hs, query, tile.rows, hs);
    }
  }
  for (int64_t i = 0; i < 2 * hs; ++i) {
    row_of(*biases[i / hs], h)[i % hs] = static_cast<float>(sums[i]);
  }
}

}  // namespace msltx::ops::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace msltx::ops {
namespace cpu {

HWY_EXPORT(add_diagonals);
HWY_EXPORT(relative_scores_forward_head);
HWY_EXPORT(relative_scores_backward_data_head);
HWY_EXPORT(relative_scores_backward_weights_head);

namespace {

// The bucket of the j-th distance of T queries and S keys; row t begins at j = T - 1 - t.
int64_t bucket_of(int64_t j, int64_t S, int64_t buckets, int64_t max_distance, bool both) {
  return relative_bucket(j - (S - 1), buckets, max_distance, both);
}

ScratchNeed relative_position_bias_forward_scratch(const RelativePositionBiasForward& op) {
  return {.per_worker = (op.out.dim(1) + op.out.dim(2)) * int64_t{sizeof(float)}};
}

void relative_position_bias_forward(Stream& stream, const RelativePositionBiasForward& op) {
  const int64_t T = op.out.dim(1), S = op.out.dim(2);
  const Matrix weight = matrix(op.weight);
  stream.parallel_for(op.out.dim(0), [&](int64_t h, int worker) {
    auto* by_distance = reinterpret_cast<float*>(stream.worker_scratch(worker));
    for (int64_t j = 0; j < T + S - 1; ++j) {
      const int64_t r = bucket_of(j, S, op.weight.dim(0), op.max_distance, op.bidirectional);
      by_distance[j] = weight.row(r)[h];
    }
    const Matrix out = head_rows(op.out, h);
    for (int64_t t = 0; t < T; ++t) {
      std::memcpy(out.row(t), by_distance + (T - 1 - t), static_cast<size_t>(S) * sizeof(float));
    }
  });
}

ScratchNeed relative_position_bias_backward_scratch(const RelativePositionBiasBackward& op) {
  const int64_t distances = op.d_out.dim(1) + op.d_out.dim(2);
  return {.per_worker = (op.d_weight.dim(0) + distances) * int64_t{sizeof(double)} +
                        distances * int64_t{sizeof(float)}};
}

void relative_position_bias_backward(Stream& stream, const RelativePositionBiasBackward& op) {
  const int64_t T = op.d_out.dim(1), S = op.d_out.dim(2), R = op.d_weight.dim(0);
  const Matrix d_weight = matrix(op.d_weight);
  const auto add_up = HWY_DYNAMIC_DISPATCH(add_diagonals);
  stream.parallel_for(op.d_out.dim(0), [&](int64_t h, int worker) {
    auto* sums = reinterpret_cast<double*>(stream.worker_scratch(worker));
    double* by_distance = sums + R;
    add_up(by_distance, reinterpret_cast<float*>(by_distance + T + S), head_rows(op.d_out, h), T,
           S);
    for (int64_t r = 0; r < R; ++r) sums[r] = op.accumulate ? double{d_weight.row(r)[h]} : 0.0;
    for (int64_t j = 0; j < T + S - 1; ++j) {
      sums[bucket_of(j, S, R, op.max_distance, op.bidirectional)] += by_distance[j];
    }
    for (int64_t r = 0; r < R; ++r) d_weight.row(r)[h] = static_cast<float>(sums[r]);
  });
}

ScratchNeed relative_attention_scores_forward_scratch(const RelativeAttentionScoresForward& op) {
  const int64_t hs = op.q.dim(3), width = packed_keys(op.k.dim(2));
  const int64_t floats = kQueries * (width + hs) + 2 * width * hs;
  return {.per_worker = floats * int64_t{sizeof(float)}};
}

void relative_attention_scores_forward(Stream& stream, const RelativeAttentionScoresForward& op) {
  const int64_t nh = op.q.dim(1);
  const auto run = HWY_DYNAMIC_DISPATCH(relative_scores_forward_head);
  stream.parallel_for(op.q.dim(0) * nh, [&](int64_t task, int worker) {
    run(op, task / nh, task % nh, reinterpret_cast<float*>(stream.worker_scratch(worker)));
  });
}

// Two tiles of rows of scores, and one of queries.
template <class Op>
int64_t gradient_floats(const Op& op) {
  return kQueries * (2 * packed_keys(op.k.dim(2)) + op.q.dim(3));
}

ScratchNeed relative_attention_scores_backward_data_scratch(
    const RelativeAttentionScoresBackwardData& op) {
  return {.per_worker = gradient_floats(op) * int64_t{sizeof(float)}};
}

void relative_attention_scores_backward_data(Stream& stream,
                                             const RelativeAttentionScoresBackwardData& op) {
  const int64_t nkv = op.k.dim(1);
  const auto run = HWY_DYNAMIC_DISPATCH(relative_scores_backward_data_head);
  stream.parallel_for(op.k.dim(0) * nkv, [&](int64_t task, int worker) {
    run(op, task / nkv, task % nkv, reinterpret_cast<float*>(stream.worker_scratch(worker)));
  });
}

ScratchNeed relative_attention_scores_backward_weights_scratch(
    const RelativeAttentionScoresBackwardWeights& op) {
  return {.per_worker = 2 * op.q.dim(3) * int64_t{sizeof(double)} +
                        gradient_floats(op) * int64_t{sizeof(float)}};
}

void relative_attention_scores_backward_weights(Stream& stream,
                                                const RelativeAttentionScoresBackwardWeights& op) {
  const auto run = HWY_DYNAMIC_DISPATCH(relative_scores_backward_weights_head);
  stream.parallel_for(op.q.dim(1), [&](int64_t h, int worker) {
    run(op, h, reinterpret_cast<float*>(stream.worker_scratch(worker)));
  });
}

}  // namespace
}  // namespace cpu

void CpuBackend::add_relative() {
  add<cpu::relative_position_bias_forward, cpu::relative_position_bias_forward_scratch>();
  add<cpu::relative_position_bias_backward, cpu::relative_position_bias_backward_scratch>();
  add<cpu::relative_attention_scores_forward, cpu::relative_attention_scores_forward_scratch>();
  add<cpu::relative_attention_scores_backward_data,
      cpu::relative_attention_scores_backward_data_scratch>();
  add<cpu::relative_attention_scores_backward_weights,
      cpu::relative_attention_scores_backward_weights_scratch>();
}

}  // namespace msltx::ops
#endif
