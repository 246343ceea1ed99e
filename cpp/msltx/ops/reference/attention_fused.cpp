// Attention in one op: out = softmax(scale q k^T) v, one row of scores at a time. q (B, nh, T, hs),
// k and v (B, nkv, S, hs), lse (B, nh, T); head h of q reads head h / (nh / nkv) of k and v.
//
//   p = exp(scale q k^T - lse),  delta = sum(d_out out),  ds = p (d_out v^T - delta)
//   d_q = scale ds k,  d_k = scale ds^T q,  d_v = p^T d_out
//
// The backward overwrites; d_k and d_v add up the query heads that read the same head. It makes p
// anew from lse, once for the rows of d_q and once for those of d_k and d_v. Dao et al.:
// "FlashAttention", 2022.
#include "msltx/ops/reference/attention.h"
#include "msltx/ops/reference/reference.h"
#include "msltx/ops/stream.h"

namespace msltx::ops {
namespace {

ScratchNeed flash_attention_forward_scratch(const FlashAttentionForward& op) {
  return {.per_worker =
              op.q.dim(3) * int64_t{sizeof(double)} + op.k.dim(2) * int64_t{sizeof(float)}};
}

void flash_attention_forward(Stream& stream, const FlashAttentionForward& op) {
  const int64_t nh = op.q.dim(1), T = op.q.dim(2), hs = op.q.dim(3), S = op.k.dim(2);
  const double scale = scale_or_default(op.scale, hs);
  stream.parallel_for(op.q.dim(0) * nh * T, [&](int64_t task, int worker) {
    const int64_t b = task / (nh * T), h = task / T % nh, t = task % T;
    auto* sum = reinterpret_cast<double*>(stream.worker_scratch(worker));
    auto* scores = reinterpret_cast<float*>(sum + hs);
    const double lse =
        attend(row(op.out, b, h, t), row(op.q, b, h, t), op.k, op.v, b, kv_head(h, op.q, op.k),
               visible_keys(op.causal, t, T, S), scale, scores, sum);
    if (op.lse.defined()) row(op.lse, b, h)[t] = static_cast<float>(lse);
  });
}

ScratchNeed flash_attention_backward_scratch(const FlashAttentionBackward& op) {
  return {.per_worker = 2 * op.q.dim(3) * int64_t{sizeof(double)},
          .shared = op.lse.size() * int64_t{sizeof(double)}};
}

void flash_attention_backward(Stream& stream, const FlashAttentionBackward& op) {
  const int64_t B = op.q.dim(0), nh = op.q.dim(1), T = op.q.dim(2), hs = op.q.dim(3);
  const int64_t nkv = op.k.dim(1), S = op.k.dim(2), group = nh / nkv;
  const double scale = scale_or_default(op.scale, hs);
  auto* delta = reinterpret_cast<double*>(stream.shared_scratch());
  const auto probability = [&](int64_t b, int64_t h, int64_t t, int64_t s) {
    const double lse = row(op.lse, b, h)[t];
    const double score = scale * dot(row(op.q, b, h, t), row(op.k, b, h / group, s), hs);
    return lse == double{kMinusInfinity} ? 0.0 : std::exp(score - lse);
  };
  // (d_out v^T - delta) of one query and one key
  const auto d_score = [&](int64_t b, int64_t h, int64_t t, int64_t s) {
    return dot(row(op.d_out, b, h, t), row(op.v, b, h / group, s), hs) -
           delta[(b * nh + h) * T + t];
  };
  stream.parallel_for(B * nh * T, [&](int64_t task, int worker) {
    const int64_t b = task / (nh * T), h = task / T % nh, t = task % T;
    delta[task] = dot(row(op.d_out, b, h, t), row(op.forward_out, b, h, t), hs);
    auto* d_q = reinterpret_cast<double*>(stream.worker_scratch(worker));
    std::fill_n(d_q, hs, 0.0);
    for (int64_t s = 0; s < visible_keys(op.causal, t, T, S); ++s) {
      const double ds = probability(b, h, t, s) * d_score(b, h, t, s);
      add_scaled(d_q, scale * ds, row(op.k, b, h / group, s), hs);
    }
    round_to(row(op.d_q, b, h, t), d_q, hs);
  });
  stream.parallel_for(B * nkv * S, [&](int64_t task, int worker) {
    const int64_t b = task / (nkv * S), kv = task / S % nkv, s = task % S;
    auto* d_k = reinterpret_cast<double*>(stream.worker_scratch(worker));
    double* d_v = d_k + hs;
    std::fill_n(d_k, 2 * hs, 0.0);
    for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
      for (int64_t t = 0; t < T; ++t) {
        if (s >= visible_keys(op.causal, t, T, S)) continue;
        const double p = probability(b, h, t, s);
        add_scaled(d_k, scale * p * d_score(b, h, t, s), row(op.q, b, h, t), hs);
        add_scaled(d_v, p, row(op.d_out, b, h, t), hs);
      }
    }
    round_to(row(op.d_k, b, kv, s), d_k, hs);
    round_to(row(op.d_v, b, kv, s), d_v, hs);
  });
}

}  // namespace

void ReferenceBackend::add_attention_fused() {
  add<flash_attention_forward, flash_attention_forward_scratch>();
  add<flash_attention_backward, flash_attention_backward_scratch>();
}

}  // namespace msltx::ops
