// What attention kernels share: who sees whom, how scores are made, and one query against the keys
// it sees. The options are defined in ops/attention.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "msltx/ops/attention_dropout.h"
#include "msltx/ops/attention_mask.h"
#include "msltx/ops/reference/loops.h"

namespace msltx::ops {

inline double scale_or_default(float scale, int64_t hs) {
  return scale != 0 ? double{scale} : 1 / std::sqrt(static_cast<double>(hs));
}

// The head of k and v that query head h reads.
inline int64_t kv_head(int64_t h, const Tensor& q, const Tensor& k) {
  return h / (q.dim(1) / k.dim(1));
}

// scores = softcap(scale q k^T) + bias - alibi_slopes distance
struct Scoring {
  double scale, softcap;
  AttentionMask mask;
  Tensor bias, alibi_slopes;

  template <class Op>
  static Scoring of(const Op& op) {
    return {scale_or_default(op.scale, op.q.dim(3)), double{op.softcap},
            mask_of(op, op.q.dim(2), op.k.dim(2)), op.bias, op.alibi_slopes};
  }
  double capped(double product) const {
    const double x = scale * product;
    return softcap == 0 ? x : softcap * std::tanh(x / softcap);
  }
  // The derivative of capped() by the product, from its value.
  double slope(double capped) const {
    const double ratio = softcap == 0 ? 0 : capped / softcap;
    return scale * (1 - ratio * ratio);
  }
  double added(int64_t h, int64_t t, int64_t s) const {
    double sum = 0;
    if (bias.defined()) sum += double{row(bias, h, t)[s]};
    if (alibi_slopes.defined()) {
      sum -= double{alibi_slopes.data()[h]} * static_cast<double>(std::abs(mask.place(t) - s));
    }
    return sum;
  }
};

// The factors that dropout gives the probabilities of one query.
struct Dropped {
  AttentionDropout dropout;
  std::array<uint32_t, 2> key;

  Dropped(const AttentionDropout& d, int64_t b, int64_t h, int64_t t)
      : dropout(d), key(d.key(b, h, t)) {}
  double factor(int64_t s) const { return dropout.rate == 0 ? 1 : double{dropout.factor(key, s)}; }
};

// out = sum of exp(scores - lse) factor(s) v over `keys` of k[b, kv] and v[b, kv], score(s, q k^T)
// being the score of key s; zeros where there is none. Returns lse = log sum exp(scores), -inf
// where there is none. `scores` holds as many floats as there are keys, `sum` hs doubles.
template <class Score, class Factor>
double attend(float* out, const float* q, const Tensor& k, const Tensor& v, int64_t b, int64_t kv,
              KeyRange keys, const Score& score, const Factor& factor, float* scores, double* sum) {
  const int64_t hs = k.dim(3);
  for (int64_t s = keys.begin; s < keys.end; ++s) {
    scores[s - keys.begin] = static_cast<float>(score(s, dot(q, row(k, b, kv, s), hs)));
  }
  const double lse = log_sum_exp(scores, keys.size());
  std::fill_n(sum, hs, 0.0);
  if (lse != double{kMinusInfinity}) {
    for (int64_t s = keys.begin; s < keys.end; ++s) {
      const double probability = std::exp(double{scores[s - keys.begin]} - lse);
      add_scaled(sum, probability * factor(s), row(v, b, kv, s), hs);
    }
  }
  round_to(out, sum, hs);
  return lse;
}

}  // namespace msltx::ops
