// What attention kernels share: who sees whom, and one query against the keys it sees.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "msltx/ops/reference/loops.h"

namespace msltx::ops {

inline double scale_or_default(float scale, int64_t hs) {
  return scale != 0 ? double{scale} : 1 / std::sqrt(static_cast<double>(hs));
}

// How many of S keys query t of T sees, from key 0 on.
inline int64_t visible_keys(bool causal, int64_t t, int64_t T, int64_t S) {
  return causal ? std::clamp<int64_t>(t + S - T + 1, 0, S) : S;
}

// The head of k and v that query head h reads.
inline int64_t kv_head(int64_t h, const Tensor& q, const Tensor& k) {
  return h / (q.dim(1) / k.dim(1));
}

// out = softmax(scale q k^T) v over keys [0, keys) of k[b, kv] and v[b, kv]; zeros where there is
// none. Returns log sum exp(scale q k^T), -inf where there is none. `scores` holds `keys` floats,
// `sum` hs doubles.
inline double attend(float* out, const float* q, const Tensor& k, const Tensor& v, int64_t b,
                     int64_t kv, int64_t keys, double scale, float* scores, double* sum) {
  const int64_t hs = k.dim(3);
  for (int64_t s = 0; s < keys; ++s) {
    scores[s] = static_cast<float>(scale * dot(q, row(k, b, kv, s), hs));
  }
  const double lse = log_sum_exp(scores, keys);
  std::fill_n(sum, hs, 0.0);
  if (lse != double{kMinusInfinity}) {
    for (int64_t s = 0; s < keys; ++s) {
      add_scaled(sum, std::exp(double{scores[s]} - lse), row(v, b, kv, s), hs);
    }
  }
  round_to(out, sum, hs);
  return lse;
}

}  // namespace msltx::ops
