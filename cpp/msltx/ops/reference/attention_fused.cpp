// Attention in one op: out = softmax(scores) v, one row of scores at a time, with scores =
// softcap(scale q k^T) + bias - alibi_slopes distance over the keys that a query sees. q (B, nh, T,
// hs), k and v (B, nkv, S, hs), lse (B, nh, T); head h of q reads head h / (nh / nkv) of k and v.
//
//   p = exp(scores - lse),  delta = sum(d_out out),  ds = p (m d_out v^T - delta)
//   d_q = scale ds softcap' k,  d_k = scale (ds softcap')^T q,  d_v = (m p)^T d_out
//   d_bias = sum over the batch of ds
//
// The backward overwrites; d_k and d_v add up the query heads that read the same head. It makes p
// anew from lse, once for the rows of d_q, once for those of d_k and d_v and once for those of
// d_bias. Dao et al.: "FlashAttention", 2022. Soft cap: softcap(x) = cap tanh(x / cap), with
// derivative 1 - (softcap(x) / cap)^2. Dropout: the probabilities that v meets are m p, with m 0 or
// 1 / (1 - rate) as attention_dropout.h says.
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
  const int64_t nh = op.q.dim(1), T = op.q.dim(2), hs = op.q.dim(3);
  const Scoring scoring = Scoring::of(op);
  const AttentionDropout dropout = AttentionDropout::of(op, T);
  stream.parallel_for(op.q.dim(0) * nh * T, [&](int64_t task, int worker) {
    const int64_t b = task / (nh * T), h = task / T % nh, t = task % T;
    auto* sum = reinterpret_cast<double*>(stream.worker_scratch(worker));
    auto* scores = reinterpret_cast<float*>(sum + hs);
    const Dropped dropped(dropout, b, h, t);
    const double lse = attend(
        row(op.out, b, h, t), row(op.q, b, h, t), op.k, op.v, b, kv_head(h, op.q, op.k),
        scoring.mask.keys(b, t),
        [&](int64_t s, double product) { return scoring.capped(product) + scoring.added(h, t, s); },
        [&](int64_t s) { return dropped.factor(s); }, scores, sum);
    if (op.lse.defined()) row(op.lse, b, h)[t] = static_cast<float>(lse);
  });
}

// One query and one key of a backward.
struct Pair {
  double dropped_p, d_score, d_product;  // d_product: of q k^T
};

template <class Op>
Pair pair(const Op& op, const Scoring& scoring, int64_t b, int64_t h, int64_t t, int64_t s,
          double delta) {
  const int64_t hs = op.q.dim(3), kv = kv_head(h, op.q, op.k);
  const double lse = double{row(op.lse, b, h)[t]};
  if (lse == double{kMinusInfinity}) return {0, 0, 0};
  const double capped = scoring.capped(dot(row(op.q, b, h, t), row(op.k, b, kv, s), hs));
  const double p = std::exp(capped + scoring.added(h, t, s) - lse);
  const double factor = Dropped(AttentionDropout::of(op, op.q.dim(2)), b, h, t).factor(s);
  const double d_p = factor * dot(row(op.d_out, b, h, t), row(op.v, b, kv, s), hs);
  const double d_score = p * (d_p - delta);
  return {factor * p, d_score, d_score * scoring.slope(capped)};
}

template <class Op>
double delta_of(const Op& op, int64_t b, int64_t h, int64_t t) {
  return dot(row(op.d_out, b, h, t), row(op.forward_out, b, h, t), op.q.dim(3));
}

ScratchNeed flash_attention_backward_scratch(const FlashAttentionBackward& op) {
  return {.per_worker = 2 * op.q.dim(3) * int64_t{sizeof(double)},
          .shared = op.lse.size() * int64_t{sizeof(double)}};
}

void flash_attention_backward(Stream& stream, const FlashAttentionBackward& op) {
  const int64_t B = op.q.dim(0), nh = op.q.dim(1), T = op.q.dim(2), hs = op.q.dim(3);
  const int64_t nkv = op.k.dim(1), S = op.k.dim(2), group = nh / nkv;
  const Scoring scoring = Scoring::of(op);
  auto* delta = reinterpret_cast<double*>(stream.shared_scratch());
  stream.parallel_for(B * nh * T, [&](int64_t task, int worker) {
    const int64_t b = task / (nh * T), h = task / T % nh, t = task % T;
    delta[task] = delta_of(op, b, h, t);
    auto* d_q = reinterpret_cast<double*>(stream.worker_scratch(worker));
    std::fill_n(d_q, hs, 0.0);
    const KeyRange keys = scoring.mask.keys(b, t);
    for (int64_t s = keys.begin; s < keys.end; ++s) {
      const Pair at = pair(op, scoring, b, h, t, s, delta[task]);
      add_scaled(d_q, at.d_product, row(op.k, b, h / group, s), hs);
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
        const KeyRange keys = scoring.mask.keys(b, t);
        if (s < keys.begin || s >= keys.end) continue;
        const Pair at = pair(op, scoring, b, h, t, s, delta[(b * nh + h) * T + t]);
        add_scaled(d_k, at.d_product, row(op.q, b, h, t), hs);
        add_scaled(d_v, at.dropped_p, row(op.d_out, b, h, t), hs);
      }
    }
    round_to(row(op.d_k, b, kv, s), d_k, hs);
    round_to(row(op.d_v, b, kv, s), d_v, hs);
  });
}

ScratchNeed flash_attention_backward_bias_scratch(const FlashAttentionBackwardBias& op) {
  return {.per_worker = op.k.dim(2) * int64_t{sizeof(double)}};
}

void flash_attention_backward_bias(Stream& stream, const FlashAttentionBackwardBias& op) {
  const int64_t B = op.q.dim(0), nh = op.q.dim(1), T = op.q.dim(2), S = op.k.dim(2);
  const Scoring scoring = Scoring::of(op);
  stream.parallel_for(nh * T, [&](int64_t task, int worker) {
    const int64_t h = task / T, t = task % T;
    auto* sum = reinterpret_cast<double*>(stream.worker_scratch(worker));
    float* d_bias = row(op.d_bias, h, t);
    for (int64_t s = 0; s < S; ++s) sum[s] = op.accumulate ? double{d_bias[s]} : 0.0;
    for (int64_t b = 0; b < B; ++b) {
      const double delta = delta_of(op, b, h, t);
      const KeyRange keys = scoring.mask.keys(b, t);
      for (int64_t s = keys.begin; s < keys.end; ++s) {
        sum[s] += pair(op, scoring, b, h, t, s, delta).d_score;
      }
    }
    round_to(d_bias, sum, S);
  });
}

}  // namespace

void ReferenceBackend::add_attention_fused() {
  add<flash_attention_forward, flash_attention_forward_scratch>();
  add<flash_attention_backward, flash_attention_backward_scratch>();
  add<flash_attention_backward_bias, flash_attention_backward_bias_scratch>();
}

}  // namespace msltx::ops
