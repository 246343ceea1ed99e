// Fused attention, both passes; the formulas are in reference/attention_fused.cpp. Faster than it:
// tiles of 64 queries by 256 keys through multiply-inl.h, of which the masked half of the diagonal
// is left out strip by strip (a library's product would take whole tiles, 62 % of all pairs at T
// 256 where this takes 53 %), with an online softmax (Milakov, Gimelshein 2018; Dao et al. 2022).
// One Zen 4 core (113 GFLOP/s), heads of 64, T 256: 178 GFLOP/s forward and 196 backward with
// masked pairs counted, of which 53 % are computed.
//
// One task per sequence and head; in the backward per key head, whose gradients it owns.
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

void flash_forward_head(const FlashAttentionForward& op, int64_t b, int64_t h, float* scratch) {
  const int64_t T = op.q.dim(2), S = op.k.dim(2), hs = op.q.dim(3);
  const int64_t kv = h / (op.q.dim(1) / op.k.dim(1));
  const Matrix q = matrix(op.q, b, h), k = matrix(op.k, b, kv), v = matrix(op.v, b, kv),
               out = matrix(op.out, b, h), scores{scratch, kTileStride};
  float* lse = op.lse.defined() ? matrix(op.lse, b).row(0) + h * op.lse.stride(1) : nullptr;
  const float scale = scale_or_default(op.scale, hs);
  const Mask mask{op.causal, T, S};
  const Right k_transposed = pack_transposed(scratch + kTileFloats, k, S, hs);
  for (int64_t t0 = 0; t0 < T; t0 += kQueries) {
    const int64_t rows = HWY_MIN(kQueries, T - t0), seen = mask.visible(t0 + rows - 1);
    float top[kQueries], sum[kQueries];
    for (int64_t r = 0; r < rows; ++r) {
      top[r] = -kInfinity;
      sum[r] = 0;
    }
    if (seen == 0) zero_rows(out, t0, t0 + rows, hs);
    for (int64_t k0 = 0; k0 < seen; k0 += kKeys) {
      const Tile tile{mask, t0, rows, k0, HWY_MIN(kKeys, seen - k0)};
      tile.multiply_seen(scores, q, k_transposed, hs);
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t visible = tile.visible(r);
        float* row = scores.row(r);
        const float new_top = HWY_MAX(top[r], largest_scaled(row, visible, scale));
        const bool none = new_top == -kInfinity;
        if (k0 > 0 && new_top > top[r]) {
          const float before = std::exp(top[r] - new_top);
          scale_row(out.row(t0 + r), hs, before);
          sum[r] *= before;
        }
        if (!none) sum[r] += exp_scaled(row, visible, scale, new_top);
        const int64_t zeros = none ? 0 : visible;
        fill(tile.keys - zeros, row + zeros, 0);
        top[r] = new_top;
      }
      tile.mix_keys(out, scores, v, hs);
    }
    for (int64_t r = 0; r < rows; ++r) {
      if (sum[r] != 0) scale_row(out.row(t0 + r), hs, 1 / sum[r]);
      if (lse) lse[t0 + r] = top[r] + std::log(sum[r]);
    }
  }
}

void flash_backward_head(const FlashAttentionBackward& op, int64_t b, int64_t kv, float* scratch) {
  const int64_t T = op.q.dim(2), S = op.k.dim(2), hs = op.q.dim(3);
  const int64_t group = op.q.dim(1) / op.k.dim(1);
  const Matrix k = matrix(op.k, b, kv), v = matrix(op.v, b, kv), d_k = matrix(op.d_k, b, kv),
               d_v = matrix(op.d_v, b, kv);
  const Matrix p{scratch, kTileStride}, ds{scratch + kTileFloats, kTileStride};
  const float scale = scale_or_default(op.scale, hs);
  const Mask mask{op.causal, T, S};
  const Right k_transposed = pack_transposed(scratch + 2 * kTileFloats, k, S, hs);
  const Right v_transposed =
      pack_transposed(scratch + 2 * kTileFloats + packed_keys(S) * hs, v, S, hs);
  if (T == 0) {
    zero_rows(d_k, 0, S, hs);
    zero_rows(d_v, 0, S, hs);
  }
  for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
    const Matrix q = matrix(op.q, b, h), out = matrix(op.forward_out, b, h),
                 d_out = matrix(op.d_out, b, h), d_q = matrix(op.d_q, b, h);
    const float* lse = matrix(op.lse, b).row(0) + h * op.lse.stride(1);
    // From the last tile, which sees every key and so may write d_k and d_v where others add.
    for (int64_t t0 = last_tile(T); t0 >= 0; t0 -= kQueries) {
      const int64_t rows = HWY_MIN(kQueries, T - t0), seen = mask.visible(t0 + rows - 1);
      const bool adds = h > kv * group || t0 + rows < T;
      if (seen == 0) zero_rows(d_q, t0, t0 + rows, hs);
      float delta[kQueries];
      for (int64_t r = 0; r < rows; ++r) {
        delta[r] = static_cast<float>(
            sum(hs, [](VF x, VF y) { return hn::Mul(x, y); }, d_out.row(t0 + r), out.row(t0 + r)));
      }
      for (int64_t k0 = 0; k0 < seen; k0 += kKeys) {
        const Tile tile{mask, t0, rows, k0, HWY_MIN(kKeys, seen - k0)};
        tile.multiply_seen(p, q, k_transposed, hs);
        tile.multiply_seen(ds, d_out, v_transposed, hs);
        for (int64_t r = 0; r < rows; ++r) {
          float *p_row = p.row(r), *ds_row = ds.row(r);
          const int64_t visible = lse[t0 + r] == -kInfinity ? 0 : tile.visible(r);
          const VF shift = set(lse[t0 + r]), mean = set(delta[r]);
          for_vectors(0, visible, [&](auto io, int64_t i, int64_t count) HWY_ATTR {
            const VF e = exp(hn::MulSub(io.load(p_row + i, count), set(scale), shift));
            const VF d = hn::Mul(e, hn::Sub(io.load(ds_row + i, count), mean));
            io.store(e, p_row + i, count);
            io.store(hn::Mul(d, set(scale)), ds_row + i, count);
          });
          fill(tile.keys - visible, p_row + visible, 0);
          fill(tile.keys - visible, ds_row + visible, 0);
        }
        tile.mix_keys(d_q, ds, k, hs);
        tile.mix_queries(d_k, ds, q, hs, adds);
        tile.mix_queries(d_v, p, d_out, hs, adds);
      }
    }
  }
}

}  // namespace msltx::ops::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace msltx::ops {
namespace cpu {

HWY_EXPORT(flash_forward_head);
HWY_EXPORT(flash_backward_head);

namespace {

ScratchNeed flash_attention_forward_scratch(const FlashAttentionForward& op) {
  const int64_t floats = kTileFloats + packed_keys(op.k.dim(2)) * op.k.dim(3);
  return {.per_worker = floats * int64_t{sizeof(float)}};
}

void flash_attention_forward(Stream& stream, const FlashAttentionForward& op) {
  const int64_t nh = op.q.dim(1);
  const auto run = HWY_DYNAMIC_DISPATCH(flash_forward_head);
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
  const auto run = HWY_DYNAMIC_DISPATCH(flash_backward_head);
  stream.parallel_for(op.k.dim(0) * nkv, [&](int64_t task, int worker) {
    run(op, task / nkv, task % nkv, reinterpret_cast<float*>(stream.worker_scratch(worker)));
  });
}

}  // namespace
}  // namespace cpu

void CpuBackend::add_attention_fused() {
  add<cpu::flash_attention_forward, cpu::flash_attention_forward_scratch>();
  add<cpu::flash_attention_backward, cpu::flash_attention_backward_scratch>();
}

}  // namespace msltx::ops
#endif
