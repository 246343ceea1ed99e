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
// In bfloat16 the products take pairs (pairs-inl.h) and add up in float32, as are scores and sums;
// weights and gradients of scores are rounded on their way from one product to the next.
//
// One task per sequence and head; in the backward per key head, whose gradients it owns, and in
// that of the bias per head and tile of queries.
#include <cmath>

#include "msltx/ops/cpu/attention.h"
#include "msltx/ops/cpu/attention_room.h"
#include "msltx/ops/cpu/cpu.h"
#include "msltx/ops/cpu/onednn.h"
#include "msltx/ops/cpu/tasks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "msltx/ops/cpu/attention_fused.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "msltx/ops/cpu/attention-inl.h"
#include "msltx/ops/cpu/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace msltx::ops::cpu::HWY_NAMESPACE {

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

// A row of weights becomes a row operand, in place: zeros where nothing is seen and, in bfloat16,
// to the end of what a strip of rows reads.
template <class E>
HWY_INLINE void finish_weights(float* row, KeyRange seen, int64_t keys, int64_t read) {
  clear_unseen(row, seen, keys);
  if constexpr (kPerWord<E> > 1) narrow_in_place(row, read);
}

// Keys with what fills up the last word.
template <class E>
HWY_INLINE int64_t padded(int64_t keys) {
  return kPerWord<E> * words<E>(keys);
}

// How many weights of a row, of padded keys, may be read by the products of a tile, whose rows go
// by strips.
template <class Rules>
HWY_INLINE int64_t weights_read(KeyRange seen, int64_t keys) {
  return whole_vectors(Rules::kRuled ? keys : HWY_MIN(keys, seen.end + kStrip));
}

// The sums that rows of E are made of: those rows themselves, or float32 in `room`.
HWY_INLINE Matrix sums_of(Matrix rows, float*, int64_t) { return rows; }
HWY_INLINE Matrix sums_of(MatrixOf<bfloat16>, float* room, int64_t n) { return {room, n}; }

template <class E>
HWY_INLINE void round_sums(MatrixOf<E> to, Matrix sums, int64_t rows, int64_t n) {
  if constexpr (kPerWord<E> == 1) return;
  for (int64_t r = 0; r < rows; ++r) map(n, to.row(r), [](VF v) { return v; }, sums.row(r));
}

template <class E, class Rules>
HWY_INLINE void forward_head(const FlashAttentionForward& op, const Rules& rules, int64_t b,
                             int64_t h, float* scratch) {
  const int64_t T = op.q.dim(2), S = op.k.dim(2), hs = op.q.dim(3);
  const int64_t kv = h / (op.q.dim(1) / op.k.dim(1));
  const ForwardRoom<E> room(op);
  const auto q = matrix<E>(op.q, b, h), k = matrix<E>(op.k, b, kv), v = matrix<E>(op.v, b, kv),
             out = matrix<E>(op.out, b, h);
  const Matrix scores{scratch, kTileStride};
  float* lse = op.lse.defined() ? matrix(op.lse, b).row(0) + h * op.lse.stride(1) : nullptr;
  float* copies = scratch + room.copies;
  const Right k_transposed =
      pack_transposed(scratch + room.k_transposed, row_operand(copies, k, S, hs), S, words<E>(hs));
  const Right values = column_operand(scratch + room.v, v, S, hs);
  for (int64_t t0 = 0; t0 < T; t0 += kQueries) {
    const int64_t rows = HWY_MIN(kQueries, T - t0);
    const Matrix queries = row_operand(copies, q.from(t0), rows, hs);
    const Matrix sums = sums_of(out.from(t0), scratch + room.sums, hs);
    float top[kQueries], sum[kQueries];
    for (int64_t r = 0; r < rows; ++r) {
      top[r] = -kInfinity;
      sum[r] = 0;
    }
    if (rules.mask.keys(t0, rows).size() == 0) zero_rows(sums, 0, rows, hs);
    for_key_blocks(rules.mask, t0, rows, [&](const auto& tile) HWY_ATTR {
      tile.template multiply_seen<E>(scores, queries, k_transposed, hs);
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
          scale_row(sums.row(r), sums.row(r), hs, before);
          sum[r] *= before;
        }
        if (!none) sum[r] += exp_scaled(row, seen.size(), scale, new_top);
        if constexpr (Rules::kRuled) drop(rules, t0 + r, tile.k0, seen, scores.row(r));
        finish_weights<E>(scores.row(r), none ? KeyRange{} : seen, padded<E>(tile.keys),
                          weights_read<Rules>(seen, padded<E>(tile.keys)));
        top[r] = new_top;
      }
      tile.template mix_keys<E>(sums, scores, values, hs);
    });
    for (int64_t r = 0; r < rows; ++r) {
      scale_row(out.row(t0 + r), sums.row(r), hs, sum[r] != 0 ? 1 / sum[r] : 1);
      if (lse) lse[t0 + r] = top[r] + std::log(sum[r]);
    }
  }
}

void flash_forward_head(const FlashAttentionForward& op, int64_t b, int64_t h, float* scratch) {
  with_type(op.q.dtype, [&]<class E>(E) { forward_head<E>(op, scaled(op), b, h, scratch); });
}
void flash_forward_head_ruled(const FlashAttentionForward& op, int64_t b, int64_t h,
                              float* scratch) {
  with_type(op.q.dtype, [&]<class E>(E) { forward_head<E>(op, ruled(op, b, h), b, h, scratch); });
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

template <class E>
HWY_INLINE float delta_of(MatrixOf<E> d_out, MatrixOf<E> out, int64_t t, int64_t hs) {
  return static_cast<float>(
      sum(hs, [](VF x, VF y) { return hn::Mul(x, y); }, d_out.row(t), out.row(t)));
}

// Weights and gradients of scores, two rows of queries at a time, as operands of all three
// products: pairs of queries in p and ds, and rows of ds in `rows`.
template <class Rules, class TileOf>
HWY_INLINE void narrow_gradients(const TileOf& tile, int64_t keys, Matrix p, Matrix ds,
                                 Matrix rows) {
  for (int64_t r = 0; r < tile.rows; r += 2) {
    const bool both = r + 1 < tile.rows;
    const int64_t read = weights_read<Rules>(tile.seen(both ? r + 1 : r), keys);
    pair_in_place(p.row(r), both ? p.row(r + 1) : nullptr, read);
    pair_in_place(ds.row(r), both ? ds.row(r + 1) : nullptr, read, rows.row(r), rows.stride);
  }
}

// `rules_of(h)` gives the rules of a query head.
template <class E, class RulesOf>
HWY_INLINE void backward_head(const FlashAttentionBackward& op, const RulesOf& rules_of, int64_t b,
                              int64_t kv, float* scratch) {
  using Rules = decltype(rules_of(0));
  const int64_t T = op.q.dim(2), S = op.k.dim(2), hs = op.q.dim(3);
  const int64_t group = op.q.dim(1) / op.k.dim(1);
  const BackwardRoom<E> room(op);
  const auto at = [&](int64_t place) { return scratch + place; };
  const auto k = matrix<E>(op.k, b, kv), v = matrix<E>(op.v, b, kv);
  const Matrix d_k = sums_of(matrix<E>(op.d_k, b, kv), at(room.d_k), hs),
               d_v = sums_of(matrix<E>(op.d_v, b, kv), at(room.d_v), hs);
  const Matrix p{scratch, kTileStride}, ds{at(kTileFloats), kTileStride};
  const Matrix ds_rows = kPerWord<E> > 1 ? Matrix{at(room.ds_rows), room.kRowStride} : ds;
  const int64_t inner = words<E>(hs);
  const Right k_transposed =
      pack_transposed(at(room.k_transposed), row_operand(at(room.copies), k, S, hs), S, inner);
  const Right v_transposed =
      pack_transposed(at(room.v_transposed), row_operand(at(room.copies), v, S, hs), S, inner);
  const Right keys = column_operand(at(room.k), k, S, hs);
  if (T == 0 || Rules::kRuled) {
    zero_rows(d_k, 0, S, hs);
    zero_rows(d_v, 0, S, hs);
  }
  for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
    const auto rules = rules_of(h);
    const auto q = matrix<E>(op.q, b, h), out = matrix<E>(op.forward_out, b, h),
               d_out = matrix<E>(op.d_out, b, h), d_q = matrix<E>(op.d_q, b, h);
    const float* lse = matrix(op.lse, b).row(0) + h * op.lse.stride(1);
    // From the last tile, which without rules sees every key and so may write d_k and d_v where
    // others add.
    for (int64_t t0 = last_tile(T); t0 >= 0; t0 -= kQueries) {
      const int64_t rows = HWY_MIN(kQueries, T - t0);
      const bool adds = Rules::kRuled || h > kv * group || t0 + rows < T;
      const Matrix q_rows = row_operand(at(room.copies), q.from(t0), rows, hs),
                   d_out_rows = row_operand(at(room.d_out_copies), d_out.from(t0), rows, hs);
      const Right q_columns = column_operand(at(room.q), q.from(t0), rows, hs),
                  d_out_columns = column_operand(at(room.d_out), d_out.from(t0), rows, hs);
      const Matrix d_q_sums = sums_of(d_q.from(t0), at(room.d_q), hs);
      if (rules.mask.keys(t0, rows).size() == 0) zero_rows(d_q_sums, 0, rows, hs);
      float delta[kQueries];
      for (int64_t r = 0; r < rows; ++r) delta[r] = delta_of(d_out, out, t0 + r, hs);
      for_key_blocks(rules.mask, t0, rows, [&](const auto& tile) HWY_ATTR {
        tile.template multiply_seen<E>(p, q_rows, k_transposed, hs);
        tile.template multiply_seen<E>(ds, d_out_rows, v_transposed, hs);
        const int64_t keys_padded = padded<E>(tile.keys);
        for (int64_t r = 0; r < rows; ++r) {
          const float row_lse = lse[t0 + r];
          const KeyRange seen = row_lse == -kInfinity ? KeyRange{} : tile.seen(r);
          score_gradients(rules, t0 + r, tile.k0, seen, p.row(r), ds.row(r), row_lse, delta[r]);
          clear_unseen(p.row(r), seen, keys_padded);
          clear_unseen(ds.row(r), seen, keys_padded);
        }
        if constexpr (kPerWord<E> > 1) narrow_gradients<Rules>(tile, keys_padded, p, ds, ds_rows);
        tile.template mix_keys<E>(d_q_sums, ds_rows, keys, hs);
        tile.template mix_queries<E>(d_k, ds, q_columns, hs, adds);
        tile.template mix_queries<E>(d_v, p, d_out_columns, hs, adds);
      });
      round_sums(d_q.from(t0), d_q_sums, rows, hs);
    }
  }
  round_sums(matrix<E>(op.d_k, b, kv), d_k, S, hs);
  round_sums(matrix<E>(op.d_v, b, kv), d_v, S, hs);
}

void flash_backward_head(const FlashAttentionBackward& op, int64_t b, int64_t kv, float* scratch) {
  with_type(op.q.dtype, [&]<class E>(E) {
    backward_head<E>(op, [&](int64_t) { return scaled(op); }, b, kv, scratch);
  });
}
void flash_backward_head_ruled(const FlashAttentionBackward& op, int64_t b, int64_t kv,
                               float* scratch) {
  with_type(op.q.dtype, [&]<class E>(E) {
    backward_head<E>(op, [&](int64_t h) { return ruled(op, b, h); }, b, kv, scratch);
  });
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
      tile.multiply_block(p, q.from(t0), pack_transposed(packed, keys, tile.keys, hs), hs);
      tile.multiply_block(ds, d_out.from(t0), pack_transposed(packed, values, tile.keys, hs), hs);
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

// Machines with AVX-512 may lack its instruction for pairs; lesser instruction sets do without.
bool runs_pairs() { return has_bfloat16_products() || (hwy::SupportedTargets() & HWY_AVX3) == 0; }

ScratchNeed flash_attention_forward_scratch(const FlashAttentionForward& op) {
  int64_t floats = 0;
  with_type(op.q.dtype, [&]<class E>(E) { floats = ForwardRoom<E>(op).floats; });
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
  int64_t floats = 0;
  with_type(op.q.dtype, [&]<class E>(E) { floats = BackwardRoom<E>(op).floats; });
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
  const bool bfloat16 = cpu::runs_pairs();
  add<cpu::flash_attention_forward, cpu::flash_attention_forward_scratch>(bfloat16);
  add<cpu::flash_attention_backward, cpu::flash_attention_backward_scratch>(bfloat16);
  add<cpu::flash_attention_backward_bias, cpu::flash_attention_backward_bias_scratch>();
}

}  // namespace msltx::ops
#endif
