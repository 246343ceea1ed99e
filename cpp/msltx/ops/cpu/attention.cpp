// The parts of attention one by one; the formulas are in reference/attention.cpp. Faster than it:
// heads are copied whole, products run in tiles of registers (multiply-inl.h) without what the mask
// hides. One Zen 4 core (113 GFLOP/s), heads of 64, T 256: scores 108 and 106, mix 110 and 91
// GFLOP/s forward and backward, 9 to 12 times the reference; causal scores 182 and 205 with masked
// pairs counted.
//
// One task per sequence and head; in the backwards per key head, whose gradients it owns.
#include "msltx/ops/cpu/attention.h"

#include <cstring>

#include "msltx/ops/cpu/cpu.h"
#include "msltx/ops/cpu/tasks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "msltx/ops/cpu/attention.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "msltx/ops/cpu/attention-inl.h"

HWY_BEFORE_NAMESPACE();
namespace msltx::ops::cpu::HWY_NAMESPACE {

// Products with keys become scores.
HWY_INLINE void finish_scores(const Scaled& rules, int64_t, KeyRange seen, float* x) {
  map(
      seen.size(), x + seen.begin, [&](VF v) { return hn::Mul(v, set(rules.scale)); },
      x + seen.begin);
}
HWY_INLINE void finish_scores(const Ruled& rules, int64_t t, KeyRange seen, float* x) {
  ScoreRow(row_rules(rules, t, 0)).apply(x, seen);
}

template <class Rules>
HWY_INLINE void scores_forward(const AttentionScoresForward& op, const Rules& rules, int64_t b,
                               int64_t h, float* scratch) {
  const int64_t T = op.q.dim(2), S = op.k.dim(2), hs = op.q.dim(3);
  const Matrix q = matrix(op.q, b, h), k = matrix(op.k, b, h / (op.q.dim(1) / op.k.dim(1))),
               out = matrix(op.out, b, h);
  multiply(out, {q.data, q.stride, 1}, pack_transposed(scratch, k, S, hs), T, S, hs, false,
           [&](int64_t t, int64_t n) {
             const KeyRange seen = rules.mask.keys(t, n);
             return Range{seen.end, 0, hs, seen.begin};
           });
  for (int64_t t = 0; t < T; ++t) {
    const KeyRange seen = rules.mask.keys(t);
    finish_scores(rules, t, seen, out.row(t));
    fill(seen.begin, out.row(t), -kInfinity);
    fill(S - seen.end, out.row(t) + seen.end, -kInfinity);
  }
}

void scores_forward_head(const AttentionScoresForward& op, int64_t b, int64_t h, float* scratch) {
  scores_forward(op, scaled(op), b, h, scratch);
}
void scores_forward_head_ruled(const AttentionScoresForward& op, int64_t b, int64_t h,
                               float* scratch) {
  scores_forward(op, ruled(op, b, h), b, h, scratch);
}

// The gradients of the products q k^T, with zeros where the mask hides them, tile by tile. With a
// soft cap the products are made once more.
template <class Rules>
HWY_INLINE void scores_backward(const AttentionScoresBackward& op, const Rules& rules, int64_t b,
                                int64_t kv, float* scratch) {
  const int64_t T = op.q.dim(2), S = op.k.dim(2), hs = op.q.dim(3);
  const int64_t group = op.q.dim(1) / op.k.dim(1);
  const bool capped = op.softcap > 0;
  const Matrix k = matrix(op.k, b, kv), d_k = matrix(op.d_k, b, kv);
  const Matrix d_products{scratch, kTileStride}, products{scratch + kTileFloats, kTileStride};
  Right k_transposed{};
  if (capped) k_transposed = pack_transposed(scratch + 2 * kTileFloats, k, S, hs);
  if (T == 0 || Rules::kRuled) zero_rows(d_k, 0, S, hs);
  for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
    const Matrix q = matrix(op.q, b, h), d_out = matrix(op.d_out, b, h), d_q = matrix(op.d_q, b, h);
    // From the last tile, which without rules sees every key and so may write d_k where others add.
    for (int64_t t0 = last_tile(T); t0 >= 0; t0 -= kQueries) {
      const int64_t rows = HWY_MIN(kQueries, T - t0);
      const bool adds = Rules::kRuled || h > kv * group || t0 + rows < T;
      if (rules.mask.keys(t0, rows).size() == 0) zero_rows(d_q, t0, t0 + rows, hs);
      for_key_blocks(rules.mask, t0, rows, [&](const auto& tile) HWY_ATTR {
        if (capped) tile.multiply_seen(products, q.from(t0), k_transposed, hs);
        for (int64_t r = 0; r < rows; ++r) {
          const KeyRange seen = tile.seen(r);
          float* row = d_products.row(r);
          const float *from = d_out.row(t0 + r) + tile.k0, *product = products.row(r);
          if constexpr (Rules::kRuled) {
            const ScoreRow score(row_rules(rules, t0 + r, tile.k0));
            for_vectors(seen.begin, seen.end, [&](auto io, int64_t i, int64_t count) HWY_ATTR {
              const VF x = capped ? score.capped(io.load(product + i, count)) : hn::Zero(F());
              io.store(hn::Mul(io.load(from + i, count), score.slope(x)), row + i, count);
            });
          } else {
            map(seen.end, row, [&](VF v) { return hn::Mul(v, set(rules.scale)); }, from);
          }
          fill(seen.begin, row, 0);
          fill(tile.keys - seen.end, row + seen.end, 0);
        }
        tile.mix_keys(d_q.from(t0), d_products, right(k), hs);
        tile.mix_queries(d_k, d_products, right(q.from(t0)), hs, adds);
      });
    }
  }
}

void scores_backward_head(const AttentionScoresBackward& op, int64_t b, int64_t kv,
                          float* scratch) {
  if (op.window == 0 && op.softcap == 0 && !op.document_starts.defined()) {
    scores_backward(op, scaled(op), b, kv, scratch);
    return;
  }
  const Ruled rules{.scale = scale_or_default(op.scale, op.q.dim(3)),
                    .softcap = op.softcap,
                    .slope = 0,
                    .mask = {mask_of(op, op.q.dim(2), op.k.dim(2)), b},
                    .bias = {}};
  scores_backward(op, rules, b, kv, scratch);
}

// d_bias[h][t] (+)= the sum of d_out[b][h][t] over b in order.
void scores_backward_bias_row(const AttentionScoresBackwardBias& op, int64_t h, int64_t t) {
  const int64_t T = op.d_out.dim(2), S = op.d_out.dim(3);
  const AttentionMask mask = mask_of(op, T, S);
  float* d_bias = head_rows(op.d_bias, h).row(t);
  if (!op.accumulate) fill(S, d_bias, 0);
  for (int64_t b = 0; b < op.d_out.dim(0); ++b) {
    const KeyRange seen = mask.keys(b, t);
    map(
        seen.size(), d_bias + seen.begin, [](VF sum, VF x) { return hn::Add(sum, x); },
        d_bias + seen.begin, matrix(op.d_out, b, h).row(t) + seen.begin);
  }
}

// The probabilities of a tile of queries and a block of keys times their factors of dropout.
HWY_INLINE void dropped_tile(Matrix to, Matrix from, const AttentionDropout& dropout, int64_t b,
                             int64_t h, int64_t t0, int64_t rows, int64_t k0, int64_t keys) {
  float factors[kKeys];
  for (int64_t r = 0; r < rows; ++r) {
    dropout_row(factors, dropout, b, h, t0 + r, k0, {0, keys});
    map(
        keys, to.row(r), [](VF x, VF factor) { return hn::Mul(x, factor); }, from.row(t0 + r) + k0,
        factors);
  }
}

void mix_forward_head(const AttentionMixForward& op, int64_t b, int64_t h, float* scratch) {
  const int64_t T = op.out.dim(2), hs = op.out.dim(3), S = op.v.dim(2);
  const Matrix p = matrix(op.probabilities, b, h), out = matrix(op.out, b, h),
               v = matrix(op.v, b, h / (op.out.dim(1) / op.v.dim(1)));
  if (op.dropout == 0) {
    multiply(out, {p.data, p.stride, 1}, right(v), T, hs, S, false);
    return;
  }
  const AttentionDropout dropout = AttentionDropout::of(op, T);
  for (int64_t t0 = 0; t0 < T; t0 += kQueries) {
    const int64_t rows = HWY_MIN(kQueries, T - t0);
    for (int64_t k0 = 0; k0 < S; k0 += kKeys) {
      const int64_t keys = HWY_MIN(kKeys, S - k0);
      dropped_tile({scratch, kTileStride}, p, dropout, b, h, t0, rows, k0, keys);
      multiply({out.row(t0), out.stride}, {scratch, kTileStride, 1}, right({v.row(k0), v.stride}),
               rows, hs, keys, k0 > 0);
    }
  }
}

// With dropout: d_probabilities times their factors, and d_v (+)= dropped(probabilities)^T d_out.
void mix_backward_dropped(const AttentionMixBackward& op, int64_t b, int64_t h, Matrix d_v,
                          bool adds, float* scratch) {
  const int64_t T = op.d_out.dim(2), S = op.v.dim(2), hs = op.v.dim(3);
  const Matrix d_out = matrix(op.d_out, b, h), p = matrix(op.probabilities, b, h),
               d_p = matrix(op.d_probabilities, b, h);
  const AttentionDropout dropout = AttentionDropout::of(op, T);
  for (int64_t t0 = 0; t0 < T; t0 += kQueries) {
    const int64_t rows = HWY_MIN(kQueries, T - t0);
    for (int64_t k0 = 0; k0 < S; k0 += kKeys) {
      const int64_t keys = HWY_MIN(kKeys, S - k0);
      dropped_tile({d_p.row(t0) + k0, d_p.stride}, d_p, dropout, b, h, t0, rows, k0, keys);
      dropped_tile({scratch, kTileStride}, p, dropout, b, h, t0, rows, k0, keys);
      multiply({d_v.row(k0), d_v.stride}, {scratch, 1, kTileStride},
               right({d_out.row(t0), d_out.stride}), keys, hs, rows, adds || t0 > 0);
    }
  }
}

void mix_backward_head(const AttentionMixBackward& op, int64_t b, int64_t kv, float* scratch) {
  const int64_t T = op.d_out.dim(2), S = op.v.dim(2), hs = op.v.dim(3);
  const int64_t group = op.d_out.dim(1) / op.v.dim(1);
  const Matrix d_v = matrix(op.d_v, b, kv);
  const Right v = pack_transposed(scratch, matrix(op.v, b, kv), S, hs);
  if (T == 0) zero_rows(d_v, 0, S, hs);
  for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
    const Matrix d_out = matrix(op.d_out, b, h), p = matrix(op.probabilities, b, h);
    const bool adds = h > kv * group;
    multiply(matrix(op.d_probabilities, b, h), {d_out.data, d_out.stride, 1}, v, T, S, hs, false);
    if (op.dropout == 0) {
      multiply(d_v, {p.data, 1, p.stride}, right(d_out), S, hs, T, adds);
    } else {
      mix_backward_dropped(op, b, h, d_v, adds, scratch + packed_keys(S) * hs);
    }
  }
}

}  // namespace msltx::ops::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace msltx::ops {
namespace cpu {

HWY_EXPORT(scores_forward_head);
HWY_EXPORT(scores_forward_head_ruled);
HWY_EXPORT(scores_backward_bias_row);
HWY_EXPORT(scores_backward_head);
HWY_EXPORT(mix_forward_head);
HWY_EXPORT(mix_backward_head);

namespace {

// fn(b, head, first, rows) for blocks of rows of every head.
template <class Fn>
void for_head_rows(Stream& stream, const Tensor& heads, Fn&& fn) {
  const int64_t nh = heads.dim(1), T = heads.dim(2), block = kQueries, blocks = ceil_div(T, block);
  stream.parallel_for(heads.dim(0) * nh * blocks, [&](int64_t task, int) {
    const int64_t first = task % blocks * block;
    fn(task / (nh * blocks), task / blocks % nh, first, std::min(block, T - first));
  });
}

// The columns of `merged` (B, T, nh hs) that are head h of sequence b.
AnyMatrix head_columns(const Tensor& merged, int64_t b, int64_t h, int64_t hs) {
  AnyMatrix columns(merged, b, h * hs);
  columns.stride = merged.stride(1);
  return columns;
}

void copy_head(AnyMatrix to, AnyMatrix from, int64_t first, int64_t rows, int64_t hs) {
  for (int64_t r = first; r < first + rows; ++r) {
    std::memcpy(to.from(r).data, from.from(r).data, static_cast<size_t>(hs * size_of(from.dtype)));
  }
}

void split(Stream& stream, const Tensor& heads, const Tensor& merged) {
  const int64_t hs = heads.dim(3);
  for_head_rows(stream, heads, [&](int64_t b, int64_t h, int64_t first, int64_t rows) {
    copy_head(head_of(heads, b, h), head_columns(merged, b, h, hs), first, rows, hs);
  });
}

void merge(Stream& stream, const Tensor& merged, const Tensor& heads) {
  const int64_t hs = heads.dim(3);
  for_head_rows(stream, heads, [&](int64_t b, int64_t h, int64_t first, int64_t rows) {
    copy_head(head_columns(merged, b, h, hs), head_of(heads, b, h), first, rows, hs);
  });
}

void split_heads_forward(Stream& stream, const SplitHeadsForward& op) {
  split(stream, op.out, op.x);
}
void split_heads_backward(Stream& stream, const SplitHeadsBackward& op) {
  merge(stream, op.d_x, op.d_out);
}
void merge_heads_forward(Stream& stream, const MergeHeadsForward& op) {
  merge(stream, op.out, op.x);
}
void merge_heads_backward(Stream& stream, const MergeHeadsBackward& op) {
  split(stream, op.d_x, op.d_out);
}

// fn(head, first_row, rows) for the rows of a (heads, rows, columns) tensor.
template <class Fn>
void for_bias_rows(Stream& stream, const Tensor& t, Fn&& fn) {
  const int64_t T = t.dim(1), blocks = ceil_div(T, kQueries);
  stream.parallel_for(t.dim(0) * blocks, [&](int64_t task, int) {
    const int64_t first = task % blocks * kQueries;
    fn(task / blocks, first, std::min(kQueries, T - first));
  });
}

// fn(b, head, scratch) for every head of a (B, heads, ...) tensor.
template <class Fn>
void for_heads(Stream& stream, const Tensor& t, Fn&& fn) {
  const int64_t heads = t.dim(1);
  stream.parallel_for(t.dim(0) * heads, [&](int64_t task, int worker) {
    fn(task / heads, task % heads, reinterpret_cast<float*>(stream.worker_scratch(worker)));
  });
}

ScratchNeed attention_scores_forward_scratch(const AttentionScoresForward& op) {
  return {.per_worker = packed_keys(op.k.dim(2)) * op.k.dim(3) * int64_t{sizeof(float)}};
}

void attention_scores_forward(Stream& stream, const AttentionScoresForward& op) {
  const auto run = has_rules(op) ? HWY_DYNAMIC_DISPATCH(scores_forward_head_ruled)
                                 : HWY_DYNAMIC_DISPATCH(scores_forward_head);
  for_heads(stream, op.q, [&](int64_t b, int64_t h, float* scratch) { run(op, b, h, scratch); });
}

ScratchNeed attention_scores_backward_scratch(const AttentionScoresBackward& op) {
  const int64_t products = kTileFloats + packed_keys(op.k.dim(2)) * op.k.dim(3);
  const int64_t floats = kTileFloats + (op.softcap > 0 ? products : 0);
  return {.per_worker = floats * int64_t{sizeof(float)}};
}

void attention_scores_backward(Stream& stream, const AttentionScoresBackward& op) {
  const auto run = HWY_DYNAMIC_DISPATCH(scores_backward_head);
  for_heads(stream, op.k, [&](int64_t b, int64_t kv, float* scratch) { run(op, b, kv, scratch); });
}

void attention_scores_backward_bias(Stream& stream, const AttentionScoresBackwardBias& op) {
  const auto run = HWY_DYNAMIC_DISPATCH(scores_backward_bias_row);
  for_bias_rows(stream, op.d_bias, [&](int64_t h, int64_t first, int64_t rows) {
    for (int64_t t = first; t < first + rows; ++t) run(op, h, t);
  });
}

ScratchNeed attention_mix_forward_scratch(const AttentionMixForward& op) {
  return {.per_worker = op.dropout > 0 ? kTileFloats * int64_t{sizeof(float)} : 0};
}

void attention_mix_forward(Stream& stream, const AttentionMixForward& op) {
  const auto run = HWY_DYNAMIC_DISPATCH(mix_forward_head);
  for_heads(stream, op.out, [&](int64_t b, int64_t h, float* scratch) { run(op, b, h, scratch); });
}

ScratchNeed attention_mix_backward_scratch(const AttentionMixBackward& op) {
  const int64_t dropped = op.dropout > 0 ? kTileFloats : 0;
  const int64_t floats = packed_keys(op.v.dim(2)) * op.v.dim(3) + dropped;
  return {.per_worker = floats * int64_t{sizeof(float)}};
}

void attention_mix_backward(Stream& stream, const AttentionMixBackward& op) {
  const auto run = HWY_DYNAMIC_DISPATCH(mix_backward_head);
  for_heads(stream, op.v, [&](int64_t b, int64_t kv, float* scratch) { run(op, b, kv, scratch); });
}

}  // namespace
}  // namespace cpu

void CpuBackend::add_attention() {
  add<cpu::split_heads_forward>(true);
  add<cpu::split_heads_backward>(true);
  add<cpu::merge_heads_forward>(true);
  add<cpu::merge_heads_backward>(true);
  add<cpu::attention_scores_forward, cpu::attention_scores_forward_scratch>();
  add<cpu::attention_scores_backward, cpu::attention_scores_backward_scratch>();
  add<cpu::attention_scores_backward_bias>();
  add<cpu::attention_mix_forward, cpu::attention_mix_forward_scratch>();
  add<cpu::attention_mix_backward, cpu::attention_mix_backward_scratch>();
}

}  // namespace msltx::ops
#endif
