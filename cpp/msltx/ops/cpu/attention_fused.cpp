// Fused attention, both passes; the formulas are in reference/attention_fused.cpp. Faster than it:
// tiles of 64 queries by 256 keys through multiply-inl.h, of which the masked half of the diagonal
// is left out strip by strip (a library's product would take whole tiles, 62 % of all pairs at T
// 256 where this takes 53 %), with an online softmax (Milakov, Gimelshein 2018; Dao et al. 2022).
// One Zen 4 core (113 GFLOP/s), heads of 64, T 256: 178 GFLOP/s forward and 196 backward with
// masked pairs counted, of which 53 % are computed.
//
// Window, documents, soft cap, biases and dropout run through the same tiles, of which those that
// no query sees are left out; without them nothing of it is compiled in.
//
// One task per sequence and head; in the backward per key head, whose gradients it owns, and in
// that of the bias per head and tile of queries.
#include <cmath>

#include "msltx/ops/cpu/attention.h"
#include "msltx/ops/cpu/cpu.h"
#include "msltx/ops/cpu/tasks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "msltx/ops/cpu/attention_fused.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "msltx/ops/cpu/attention-inl.h"
#include "msltx/ops/cpu/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace msltx::ops::cpu::HWY_NAMESPACE {

// The largest of scale x[0..n); with a NaN among them not -inf.
HWY_INLINE float largest_scaled(const float* x, int64_t n, float scale) {
  VF top = hn::Set(F(), -kInfinity);
  for_vectors(0, n, [&](auto io, int64_t i, int64_t count) HWY_ATTR {
    const VF v = hn::Mul(io.load(x + i, count), set(scale));
    top = hn::Max(top, io.clear(v, count, -kInfinity));
  });
  return or_nan(max_of_lanes(top), x, n);
}

// x = exp(scale x - shift); returns the sum.
HWY_INLINE float exp_scaled(float* x, int64_t n, float scale, float shift) {
  VF total = hn::Zero(F());
  for_vectors(0, n, [&](auto io, int64_t i, int64_t count) HWY_ATTR {
    const VF e = exp_not_positive(hn::MulSub(io.load(x + i, count), set(scale), set(shift)));
    io.store(e, x + i, count);
    total = hn::Add(total, io.clear(e, count));
  });
  return sum_of_lanes(total);
}

HWY_INLINE void scale_row(float* x, int64_t n, float factor) {
  map(n, x, [&](VF v) { return hn::Mul(v, set(factor)); }, x);
}

// Zeros in a row of `keys` elements but for those that are seen.
HWY_INLINE void clear_unseen(float* row, KeyRange seen, int64_t keys) {
  fill(seen.begin, row, 0);
  fill(keys - seen.end, row + seen.end, 0);
}

// The factors of dropout of query t, in `room`; null without dropout.
HWY_INLINE const float* factors_of(const Ruled& rules, int64_t t, int64_t k0, KeyRange seen,
                                   float* room) {
  if (rules.dropout.rate == 0) return nullptr;
  dropout_row(room, rules.dropout, rules.mask.b, rules.h, t, k0, seen);
  return room;
}

// Probabilities times their factors.
HWY_INLINE void drop(const Ruled& rules, int64_t t, int64_t k0, KeyRange seen, float* p) {
  float room[kKeys];
  const float* factors = factors_of(rules, t, k0, seen, room);
  if (!factors) return;
  map(
      seen.size(), p + seen.begin, [](VF x, VF factor) { return hn::Mul(x, factor); },
      p + seen.begin, factors + seen.begin);
}

template <class Rules>
HWY_INLINE void forward_head(const FlashAttentionForward& op, const Rules& rules, int64_t b,
                             int64_t h, float* scratch) {
  const int64_t T = op.q.dim(2), S = op.k.dim(2), hs = op.q.dim(3);
  const int64_t kv = h / (op.q.dim(1) / op.k.dim(1));
  const Matrix q = matrix(op.q, b, h), k = matrix(op.k, b, kv), v = matrix(op.v, b, kv),
               out = matrix(op.out, b, h), scores{scratch, kTileStride};
  float* lse = op.lse.defined() ? matrix(op.lse, b).row(0) + h * op.lse.stride(1) : nullptr;
  const Right k_transposed = pack_transposed(scratch + kTileFloats, k, S, hs);
  for (int64_t t0 = 0; t0 < T; t0 += kQueries) {
    const int64_t rows = HWY_MIN(kQueries, T - t0);
    float top[kQueries], sum[kQueries];
    for (int64_t r = 0; r < rows; ++r) {
      top[r] = -kInfinity;
      sum[r] = 0;
    }
    if (rules.mask.keys(t0, rows).size() == 0) zero_rows(out, t0, t0 + rows, hs);
    for_key_blocks(rules.mask, t0, rows, [&](const auto& tile) HWY_ATTR {
      tile.multiply_seen(scores, q, k_transposed, hs);
      for (int64_t r = 0; r < rows; ++r) {
        const KeyRange seen = tile.seen(r);
        float scale = rules.scale;
        if constexpr (Rules::kRuled) {
          ScoreRow(row_rules(rules, t0 + r, tile.k0)).apply(scores.row(r), seen);
          scale = 1;
        }
        float* row = scores.row(r) + seen.begin;
        const float new_top = HWY_MAX(top[r], largest_scaled(row, seen.size(), scale));
        const bool none = new_top == -kInfinity;
        if (!tile.first && new_top > top[r]) {
          const float before = std::exp(top[r] - new_top);
          scale_row(out.row(t0 + r), hs, before);
          sum[r] *= before;
        }
        if (!none) sum[r] += exp_scaled(row, seen.size(), scale, new_top);
        if constexpr (Rules::kRuled) drop(rules, t0 + r, tile.k0, seen, scores.row(r));
        clear_unseen(scores.row(r), none ? KeyRange{} : seen, tile.keys);
        top[r] = new_top;
      }
      tile.mix_keys(out, scores, v, hs);
    });
    for (int64_t r = 0; r < rows; ++r) {
      if (sum[r] != 0) scale_row(out.row(t0 + r), hs, 1 / sum[r]);
      if (lse) lse[t0 + r] = top[r] + std::log(sum[r]);
    }
  }
}

void flash_forward_head(const FlashAttentionForward& op, int64_t b, int64_t h, float* scratch) {
  forward_head(op, scaled(op), b, h, scratch);
}
void flash_forward_head_ruled(const FlashAttentionForward& op, int64_t b, int64_t h,
                              float* scratch) {
  forward_head(op, ruled(op, b, h), b, h, scratch);
}

// What the backwards make of a row of products with keys (in p) and with values (in ds).
// Scaled: p = exp(scale q k^T - lse), ds = scale p (d_out v^T - delta).
HWY_INLINE void score_gradients(const Scaled& rules, int64_t, int64_t, KeyRange seen, float* p,
                                float* ds, float lse, float delta) {
  const VF shift = set(lse), mean = set(delta);
  for_vectors(seen.begin, seen.end, [&](auto io, int64_t i, int64_t count) HWY_ATTR {
    const VF e = exp(hn::MulSub(io.load(p + i, count), set(rules.scale), shift));
    const VF d = hn::Mul(e, hn::Sub(io.load(ds + i, count), mean));
    io.store(e, p + i, count);
    io.store(hn::Mul(d, set(rules.scale)), ds + i, count);
  });
}
// Ruled: p = m exp(scores - lse), ds = exp(scores - lse) (m d_out v^T - delta) times the derivative
// of the soft cap, with m the factors of dropout.
HWY_INLINE void score_gradients(const Ruled& rules, int64_t t, int64_t k0, KeyRange seen, float* p,
                                float* ds, float lse, float delta) {
  float room[kKeys];
  const float* factors = factors_of(rules, t, k0, seen, room);
  const ScoreRow row(row_rules(rules, t, k0));
  const VF shift = set(lse), mean = set(delta);
  for_vectors(seen.begin, seen.end, [&](auto io, int64_t i, int64_t count) HWY_ATTR {
    const VF capped = row.capped(io.load(p + i, count));
    const VF e = exp(hn::Sub(row.score(io, capped, i, count), shift));
    const VF factor = factors ? io.load(factors + i, count) : set(1.0f);
    const VF d = hn::Mul(e, hn::MulSub(io.load(ds + i, count), factor, mean));
    io.store(hn::Mul(e, factor), p + i, count);
    io.store(hn::Mul(d, row.slope(capped)), ds + i, count);
  });
}

HWY_INLINE float delta_of(Matrix d_out, Matrix out, int64_t t, int64_t hs) {
  return static_cast<float>(
      sum(hs, [](VF x, VF y) { return hn::Mul(x, y); }, d_out.row(t), out.row(t)));
}

// `rules_of(h)` gives the rules of a query head.
template <class RulesOf>
HWY_INLINE void backward_head(const FlashAttentionBackward& op, const RulesOf& rules_of, int64_t b,
                              int64_t kv, float* scratch) {
  constexpr bool kRuled = decltype(rules_of(0))::kRuled;
  const int64_t T = op.q.dim(2), S = op.k.dim(2), hs = op.q.dim(3);
  const int64_t group = op.q.dim(1) / op.k.dim(1);
  const Matrix k = matrix(op.k, b, kv), v = matrix(op.v, b, kv), d_k = matrix(op.d_k, b, kv),
               d_v = matrix(op.d_v, b, kv);
  const Matrix p{scratch, kTileStride}, ds{scratch + kTileFloats, kTileStride};
  const Right k_transposed = pack_transposed(scratch + 2 * kTileFloats, k, S, hs);
  const Right v_transposed =
      pack_transposed(scratch + 2 * kTileFloats + packed_keys(S) * hs, v, S, hs);
  if (T == 0 || kRuled) {
    zero_rows(d_k, 0, S, hs);
    zero_rows(d_v, 0, S, hs);
  }
  for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
    const auto rules = rules_of(h);
    const Matrix q = matrix(op.q, b, h), out = matrix(op.forward_out, b, h),
                 d_out = matrix(op.d_out, b, h), d_q = matrix(op.d_q, b, h);
    const float* lse = matrix(op.lse, b).row(0) + h * op.lse.stride(1);
    // From the last tile, which without rules sees every key and so may write d_k and d_v where
    // others add.
    for (int64_t t0 = last_tile(T); t0 >= 0; t0 -= kQueries) {
      const int64_t rows = HWY_MIN(kQueries, T - t0);
      const bool adds = kRuled || h > kv * group || t0 + rows < T;
      if (rules.mask.keys(t0, rows).size() == 0) zero_rows(d_q, t0, t0 + rows, hs);
      float delta[kQueries];
      for (int64_t r = 0; r < rows; ++r) delta[r] = delta_of(d_out, out, t0 + r, hs);
      for_key_blocks(rules.mask, t0, rows, [&](const auto& tile) HWY_ATTR {
        tile.multiply_seen(p, q, k_transposed, hs);
        tile.multiply_seen(ds, d_out, v_transposed, hs);
        for (int64_t r = 0; r < rows; ++r) {
          const float row_lse = lse[t0 + r];
          const KeyRange seen = row_lse == -kInfinity ? KeyRange{} : tile.seen(r);
          score_gradients(rules, t0 + r, tile.k0, seen, p.row(r), ds.row(r), row_lse, delta[r]);
          clear_unseen(p.row(r), seen, tile.keys);
          clear_unseen(ds.row(r), seen, tile.keys);
        }
        tile.mix_keys(d_q, ds, k, hs);
        tile.mix_queries(d_k, ds, q, hs, adds);
        tile.mix_queries(d_v, p, d_out, hs, adds);
      });
    }
  }
}

void flash_backward_head(const FlashAttentionBackward& op, int64_t b, int64_t kv, float* scratch) {
  backward_head(op, [&](int64_t) { return scaled(op); }, b, kv, scratch);
}
void flash_backward_head_ruled(const FlashAttentionBackward& op, int64_t b, int64_t kv,
                               float* scratch) {
  backward_head(op, [&](int64_t h) { return ruled(op, b, h); }, b, kv, scratch);
}

// d_bias of the queries [t0, t0 + kQueries) of a head: sequence by sequence.
void flash_backward_bias_tile(const FlashAttentionBackwardBias& op, int64_t h, int64_t t0,
                              float* scratch) {
  const int64_t T = op.q.dim(2), S = op.k.dim(2), hs = op.q.dim(3);
  const int64_t kv = h / (op.q.dim(1) / op.k.dim(1)), rows = HWY_MIN(kQueries, T - t0);
  const Matrix p{scratch, kTileStride}, ds{scratch + kTileFloats, kTileStride};
  float* packed = scratch + 2 * kTileFloats;
  const Matrix d_bias{op.d_bias.data() + h * op.d_bias.stride(0), op.d_bias.stride(1)};
  if (!op.accumulate) zero_rows(d_bias, t0, t0 + rows, S);
  for (int64_t b = 0; b < op.q.dim(0); ++b) {
    const Ruled rules = ruled(op, b, h);
    const Matrix q = matrix(op.q, b, h), k = matrix(op.k, b, kv), v = matrix(op.v, b, kv),
                 out = matrix(op.forward_out, b, h), d_out = matrix(op.d_out, b, h);
    const float* lse = matrix(op.lse, b).row(0) + h * op.lse.stride(1);
    float delta[kQueries];
    for (int64_t r = 0; r < rows; ++r) delta[r] = delta_of(d_out, out, t0 + r, hs);
    for_key_blocks(rules.mask, t0, rows, [&](const auto& tile) HWY_ATTR {
      const Matrix keys{k.row(tile.k0), k.stride}, values{v.row(tile.k0), v.stride};
      tile.multiply_block(p, q, pack_transposed(packed, keys, tile.keys, hs), hs);
      tile.multiply_block(ds, d_out, pack_transposed(packed, values, tile.keys, hs), hs);
      for (int64_t r = 0; r < rows; ++r) {
        if (lse[t0 + r] == -kInfinity) continue;
        const KeyRange seen = tile.seen(r);
        const ScoreRow row(row_rules(rules, t0 + r, tile.k0));
        float room[kKeys];
        const float* factors = factors_of(rules, t0 + r, tile.k0, seen, room);
        const float *products = p.row(r), *d_p = ds.row(r);
        float* sum = d_bias.row(t0 + r) + tile.k0;
        const VF shift = set(lse[t0 + r]), mean = set(delta[r]);
        for_vectors(seen.begin, seen.end, [&](auto io, int64_t i, int64_t count) HWY_ATTR {
          const VF capped = row.capped(io.load(products + i, count));
          const VF e = exp(hn::Sub(row.score(io, capped, i, count), shift));
          const VF factor = factors ? io.load(factors + i, count) : set(1.0f);
          const VF d = hn::MulSub(io.load(d_p + i, count), factor, mean);
          io.store(hn::MulAdd(e, d, io.load(sum + i, count)), sum + i, count);
        });
      }
    });
  }
}

}  // namespace msltx::ops::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace msltx::ops {
namespace cpu {

HWY_EXPORT(flash_forward_head);
HWY_EXPORT(flash_forward_head_ruled);
HWY_EXPORT(flash_backward_head);
HWY_EXPORT(flash_backward_head_ruled);
HWY_EXPORT(flash_backward_bias_tile);

namespace {

ScratchNeed flash_attention_forward_scratch(const FlashAttentionForward& op) {
  const int64_t floats = kTileFloats + packed_keys(op.k.dim(2)) * op.k.dim(3);
  return {.per_worker = floats * int64_t{sizeof(float)}};
}

void flash_attention_forward(Stream& stream, const FlashAttentionForward& op) {
  const int64_t nh = op.q.dim(1);
  const auto run = has_rules(op) ? HWY_DYNAMIC_DISPATCH(flash_forward_head_ruled)
                                 : HWY_DYNAMIC_DISPATCH(flash_forward_head);
  stream.parallel_for(op.q.dim(0) * nh, [&](int64_t task, int worker) {
    run(op, task / nh, task % nh, reinterpret_cast<float*>(stream.worker_scratch(worker)));
  });
}

ScratchNeed flash_attention_backward_scratch(const FlashAttentionBackward& op) {
  const int64_t floats = 2 * (kTileFloats + packed_keys(op.k.dim(2)) * op.k.dim(3));
  return {.per_worker = floats * int64_t{sizeof(float)}};
}

void flash_attention_backward(Stream& stream, const FlashAttentionBackward& op) {
  const int64_t nkv = op.k.dim(1);
  const auto run = has_rules(op) ? HWY_DYNAMIC_DISPATCH(flash_backward_head_ruled)
                                 : HWY_DYNAMIC_DISPATCH(flash_backward_head);
  stream.parallel_for(op.k.dim(0) * nkv, [&](int64_t task, int worker) {
    run(op, task / nkv, task % nkv, reinterpret_cast<float*>(stream.worker_scratch(worker)));
  });
}

ScratchNeed flash_attention_backward_bias_scratch(const FlashAttentionBackwardBias& op) {
  const int64_t floats = 2 * kTileFloats + packed_keys(kKeys) * op.k.dim(3);
  return {.per_worker = floats * int64_t{sizeof(float)}};
}

void flash_attention_backward_bias(Stream& stream, const FlashAttentionBackwardBias& op) {
  const int64_t nh = op.q.dim(1), tiles = ceil_div(op.q.dim(2), kQueries);
  const auto run = HWY_DYNAMIC_DISPATCH(flash_backward_bias_tile);
  stream.parallel_for(nh * tiles, [&](int64_t task, int worker) {
    run(op, task / tiles, task % tiles * kQueries,
        reinterpret_cast<float*>(stream.worker_scratch(worker)));
  });
}

}  // namespace
}  // namespace cpu

void CpuBackend::add_attention_fused() {
  add<cpu::flash_attention_forward, cpu::flash_attention_forward_scratch>();
  add<cpu::flash_attention_backward, cpu::flash_attention_backward_scratch>();
  add<cpu::flash_attention_backward_bias, cpu::flash_attention_backward_bias_scratch>();
}

}  // namespace msltx::ops
#endif
