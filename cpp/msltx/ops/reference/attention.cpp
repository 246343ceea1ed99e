// The parts of attention one by one. q (B, nh, T, hs), k and v (B, nkv, S, hs), scores (B, nh, T,
// S); head h of q reads head h / (nh / nkv) of k and v. Every backward overwrites.
//
//   split_heads: out[b, h, t, i] = x[b, t, h hs + i]; merge_heads undoes it, and is its backward
//   scores = softcap(scale q k^T) + bias - alibi_slopes distance, masked entries -inf
//     d_q = scale d_scores softcap' k,  d_k = scale (d_scores softcap')^T q,  d_bias = sum over the
//     batch of d_scores, masked entries left out
//   mix: out = (m probabilities) v, with m the factors of dropout (attention_dropout.h)
//     d_probabilities = m d_out v^T,  d_v = (m probabilities)^T d_out
//
// d_k and d_v add up the query heads that read the same head.
#include "msltx/ops/reference/attention.h"

#include "msltx/ops/reference/reference.h"
#include "msltx/ops/stream.h"

namespace msltx::ops {
namespace {

// heads (B, nh, T, hs) from merged (B, T, nh hs)
void split(Stream& stream, const Tensor& heads, const Tensor& merged) {
  const int64_t nh = heads.dim(1), T = heads.dim(2), hs = heads.dim(3);
  stream.parallel_for(heads.dim(0) * nh * T, [&](int64_t task, int) {
    const int64_t b = task / (nh * T), h = task / T % nh, t = task % T;
    std::copy_n(row(merged, b, t) + h * hs, hs, row(heads, b, h, t));
  });
}

void merge(Stream& stream, const Tensor& merged, const Tensor& heads) {
  const int64_t nh = heads.dim(1), T = heads.dim(2), hs = heads.dim(3);
  stream.parallel_for(heads.dim(0) * nh * T, [&](int64_t task, int) {
    const int64_t b = task / (nh * T), h = task / T % nh, t = task % T;
    std::copy_n(row(heads, b, h, t), hs, row(merged, b, t) + h * hs);
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

void attention_scores_forward(Stream& stream, const AttentionScoresForward& op) {
  const int64_t nh = op.q.dim(1), T = op.q.dim(2), hs = op.q.dim(3), S = op.k.dim(2);
  const Scoring scoring = Scoring::of(op);
  stream.parallel_for(op.q.dim(0) * nh * T, [&](int64_t task, int) {
    const int64_t b = task / (nh * T), h = task / T % nh, t = task % T;
    const int64_t kv = kv_head(h, op.q, op.k);
    const KeyRange keys = scoring.mask.keys(b, t);
    float* out = row(op.out, b, h, t);
    std::fill_n(out, S, kMinusInfinity);
    for (int64_t s = keys.begin; s < keys.end; ++s) {
      const double product = dot(row(op.q, b, h, t), row(op.k, b, kv, s), hs);
      out[s] = static_cast<float>(scoring.capped(product) + scoring.added(h, t, s));
    }
  });
}

ScratchNeed attention_scores_backward_scratch(const AttentionScoresBackward& op) {
  return {.per_worker = op.q.dim(3) * int64_t{sizeof(double)}};
}

void attention_scores_backward(Stream& stream, const AttentionScoresBackward& op) {
  const int64_t B = op.q.dim(0), nh = op.q.dim(1), T = op.q.dim(2), hs = op.q.dim(3);
  const int64_t nkv = op.k.dim(1), S = op.k.dim(2), group = nh / nkv;
  const Scoring scoring{
      scale_or_default(op.scale, hs), double{op.softcap}, mask_of(op, T, S), {}, {}};
  // The gradient of q k^T.
  const auto d_product = [&](int64_t b, int64_t h, int64_t t, int64_t s) {
    double capped = 0;
    if (op.softcap != 0) {
      capped = scoring.capped(dot(row(op.q, b, h, t), row(op.k, b, h / group, s), hs));
    }
    return double{row(op.d_out, b, h, t)[s]} * scoring.slope(capped);
  };
  stream.parallel_for(B * nh * T, [&](int64_t task, int worker) {
    const int64_t b = task / (nh * T), h = task / T % nh, t = task % T;
    auto* sum = reinterpret_cast<double*>(stream.worker_scratch(worker));
    std::fill_n(sum, hs, 0.0);
    const KeyRange keys = scoring.mask.keys(b, t);
    for (int64_t s = keys.begin; s < keys.end; ++s) {
      add_scaled(sum, d_product(b, h, t, s), row(op.k, b, h / group, s), hs);
    }
    round_to(row(op.d_q, b, h, t), sum, hs);
  });
  stream.parallel_for(B * nkv * S, [&](int64_t task, int worker) {
    const int64_t b = task / (nkv * S), kv = task / S % nkv, s = task % S;
    auto* sum = reinterpret_cast<double*>(stream.worker_scratch(worker));
    std::fill_n(sum, hs, 0.0);
    for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
      for (int64_t t = 0; t < T; ++t) {
        const KeyRange keys = scoring.mask.keys(b, t);
        if (s < keys.begin || s >= keys.end) continue;
        add_scaled(sum, d_product(b, h, t, s), row(op.q, b, h, t), hs);
      }
    }
    round_to(row(op.d_k, b, kv, s), sum, hs);
  });
}

ScratchNeed attention_scores_backward_bias_scratch(const AttentionScoresBackwardBias& op) {
  return {.per_worker = op.d_out.dim(3) * int64_t{sizeof(double)}};
}

void attention_scores_backward_bias(Stream& stream, const AttentionScoresBackwardBias& op) {
  const int64_t B = op.d_out.dim(0), nh = op.d_out.dim(1), T = op.d_out.dim(2), S = op.d_out.dim(3);
  const AttentionMask mask = mask_of(op, T, S);
  stream.parallel_for(nh * T, [&](int64_t task, int worker) {
    const int64_t h = task / T, t = task % T;
    auto* sum = reinterpret_cast<double*>(stream.worker_scratch(worker));
    float* d_bias = row(op.d_bias, h, t);
    for (int64_t s = 0; s < S; ++s) sum[s] = op.accumulate ? double{d_bias[s]} : 0.0;
    for (int64_t b = 0; b < B; ++b) {
      const KeyRange keys = mask.keys(b, t);
      for (int64_t s = keys.begin; s < keys.end; ++s) sum[s] += double{row(op.d_out, b, h, t)[s]};
    }
    round_to(d_bias, sum, S);
  });
}

ScratchNeed attention_mix_forward_scratch(const AttentionMixForward& op) {
  return {.per_worker = op.v.dim(3) * int64_t{sizeof(double)}};
}

void attention_mix_forward(Stream& stream, const AttentionMixForward& op) {
  const int64_t nh = op.out.dim(1), T = op.out.dim(2), hs = op.out.dim(3), S = op.v.dim(2);
  const AttentionDropout dropout = AttentionDropout::of(op, T);
  stream.parallel_for(op.out.dim(0) * nh * T, [&](int64_t task, int worker) {
    const int64_t b = task / (nh * T), h = task / T % nh, t = task % T;
    const int64_t kv = kv_head(h, op.out, op.v);
    auto* sum = reinterpret_cast<double*>(stream.worker_scratch(worker));
    std::fill_n(sum, hs, 0.0);
    const Dropped dropped(dropout, b, h, t);
    for (int64_t s = 0; s < S; ++s) {
      const double p = double{row(op.probabilities, b, h, t)[s]} * dropped.factor(s);
      add_scaled(sum, p, row(op.v, b, kv, s), hs);
    }
    round_to(row(op.out, b, h, t), sum, hs);
  });
}

ScratchNeed attention_mix_backward_scratch(const AttentionMixBackward& op) {
  return {.per_worker = op.v.dim(3) * int64_t{sizeof(double)}};
}

void attention_mix_backward(Stream& stream, const AttentionMixBackward& op) {
  const int64_t B = op.d_out.dim(0), nh = op.d_out.dim(1), T = op.d_out.dim(2),
                hs = op.d_out.dim(3);
  const int64_t nkv = op.v.dim(1), S = op.v.dim(2), group = nh / nkv;
  const AttentionDropout dropout = AttentionDropout::of(op, T);
  stream.parallel_for(B * nh * T, [&](int64_t task, int) {
    const int64_t b = task / (nh * T), h = task / T % nh, t = task % T;
    float* d_probabilities = row(op.d_probabilities, b, h, t);
    const Dropped dropped(dropout, b, h, t);
    for (int64_t s = 0; s < S; ++s) {
      const double product = dot(row(op.d_out, b, h, t), row(op.v, b, h / group, s), hs);
      d_probabilities[s] = static_cast<float>(product * dropped.factor(s));
    }
  });
  stream.parallel_for(B * nkv * S, [&](int64_t task, int worker) {
    const int64_t b = task / (nkv * S), kv = task / S % nkv, s = task % S;
    auto* sum = reinterpret_cast<double*>(stream.worker_scratch(worker));
    std::fill_n(sum, hs, 0.0);
    for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
      for (int64_t t = 0; t < T; ++t) {
        const double factor = Dropped(dropout, b, h, t).factor(s);
        add_scaled(sum, factor * double{row(op.probabilities, b, h, t)[s]}, row(op.d_out, b, h, t),
                   hs);
      }
    }
    round_to(row(op.d_v, b, kv, s), sum, hs);
  });
}

}  // namespace

void ReferenceBackend::add_attention() {
  add<split_heads_forward>();
  add<split_heads_backward>();
  add<merge_heads_forward>();
  add<merge_heads_backward>();
  add<attention_scores_forward>();
  add<attention_scores_backward, attention_scores_backward_scratch>();
  add<attention_scores_backward_bias, attention_scores_backward_bias_scratch>();
  add<attention_mix_forward, attention_mix_forward_scratch>();
  add<attention_mix_backward, attention_mix_backward_scratch>();
}

}  // namespace msltx::ops
