// Relative positions. T5: bias[h, t, s] = weight[bucket(s - i), h], buckets as relative_bucket()
// says, and its gradient adds d_bias up by bucket. Transformer-XL, with i = t + S - T the place of
// query t, d = i - s >= 0 the distance of key s, u and v biases per head:
//
//   scores = scale ((q_t + u) k_s + (q_t + v) r_d), -inf where masked
//   d_q[t] = scale sum_s ds (k_s + r_d),  d_k[s] = scale sum_t ds (q_t + u)
//   d_r[d] = scale sum_bt ds (q_t + v),  d_u = scale sum_bts ds k_s,  d_v = scale sum_bts ds r_d
//
// d_q and d_k overwrite; the gradients of weights are written, or added to with `accumulate`.
#include "msltx/ops/relative.h"

#include "msltx/ops/reference/attention.h"
#include "msltx/ops/reference/reference.h"
#include "msltx/ops/stream.h"

namespace msltx::ops {
namespace {

void relative_position_bias_forward(Stream& stream, const RelativePositionBiasForward& op) {
  const int64_t nh = op.out.dim(0), T = op.out.dim(1), S = op.out.dim(2);
  stream.parallel_for(nh * T, [&](int64_t task, int) {
    const int64_t h = task / T, t = task % T;
    for (int64_t s = 0; s < S; ++s) {
      const int64_t r =
          relative_bucket(s - (t + S - T), op.weight.dim(0), op.max_distance, op.bidirectional);
      row(op.out, h, t)[s] = row(op.weight, r)[h];
    }
  });
}

ScratchNeed relative_position_bias_backward_scratch(const RelativePositionBiasBackward& op) {
  return {.per_worker = op.d_weight.dim(0) * int64_t{sizeof(double)}};
}

void relative_position_bias_backward(Stream& stream, const RelativePositionBiasBackward& op) {
  const int64_t R = op.d_weight.dim(0), nh = op.d_out.dim(0), T = op.d_out.dim(1),
                S = op.d_out.dim(2);
  stream.parallel_for(nh, [&](int64_t h, int worker) {
    auto* sum = reinterpret_cast<double*>(stream.worker_scratch(worker));
    for (int64_t r = 0; r < R; ++r) sum[r] = op.accumulate ? double{row(op.d_weight, r)[h]} : 0.0;
    for (int64_t t = 0; t < T; ++t) {
      for (int64_t s = 0; s < S; ++s) {
        sum[relative_bucket(s - (t + S - T), R, op.max_distance, op.bidirectional)] +=
            double{row(op.d_out, h, t)[s]};
      }
    }
    for (int64_t r = 0; r < R; ++r) row(op.d_weight, r)[h] = static_cast<float>(sum[r]);
  });
}

// to = x + y in float64
void add(double* to, const float* x, const float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = double{x[i]} + double{y[i]};
}

double dot(const double* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += a[i] * double{b[i]};
  return sum;
}

ScratchNeed relative_attention_scores_forward_scratch(const RelativeAttentionScoresForward& op) {
  return {.per_worker = 2 * op.q.dim(3) * int64_t{sizeof(double)}};
}

void relative_attention_scores_forward(Stream& stream, const RelativeAttentionScoresForward& op) {
  const int64_t nh = op.q.dim(1), T = op.q.dim(2), hs = op.q.dim(3), S = op.k.dim(2);
  const double scale = scale_or_default(op.scale, hs);
  const AttentionMask mask = relative_mask(op);
  stream.parallel_for(op.q.dim(0) * nh * T, [&](int64_t task, int worker) {
    const int64_t b = task / (nh * T), h = task / T % nh, t = task % T;
    const int64_t kv = kv_head(h, op.q, op.k);
    auto* content = reinterpret_cast<double*>(stream.worker_scratch(worker));
    double* position = content + hs;
    add(content, row(op.q, b, h, t), row(op.content_bias, h), hs);
    add(position, row(op.q, b, h, t), row(op.position_bias, h), hs);
    float* out = row(op.out, b, h, t);
    std::fill_n(out, S, kMinusInfinity);
    const KeyRange keys = mask.keys(b, t);
    for (int64_t s = keys.begin; s < keys.end; ++s) {
      const double score = dot(content, row(op.k, b, kv, s), hs) +
                           dot(position, row(op.r, h, mask.place(t) - s), hs);
      out[s] = static_cast<float>(scale * score);
    }
  });
}

ScratchNeed relative_attention_scores_backward_data_scratch(
    const RelativeAttentionScoresBackwardData& op) {
  return {.per_worker = 2 * op.q.dim(3) * int64_t{sizeof(double)}};
}

void relative_attention_scores_backward_data(Stream& stream,
                                             const RelativeAttentionScoresBackwardData& op) {
  const int64_t B = op.q.dim(0), nh = op.q.dim(1), T = op.q.dim(2), hs = op.q.dim(3);
  const int64_t nkv = op.k.dim(1), S = op.k.dim(2), group = nh / nkv;
  const double scale = scale_or_default(op.scale, hs);
  const AttentionMask mask = relative_mask(op);
  stream.parallel_for(B * nh * T, [&](int64_t task, int worker) {
    const int64_t b = task / (nh * T), h = task / T % nh, t = task % T;
    auto* sum = reinterpret_cast<double*>(stream.worker_scratch(worker));
    std::fill_n(sum, hs, 0.0);
    const KeyRange keys = mask.keys(b, t);
    for (int64_t s = keys.begin; s < keys.end; ++s) {
      const double ds = scale * row(op.d_out, b, h, t)[s];
      add_scaled(sum, ds, row(op.k, b, h / group, s), hs);
      add_scaled(sum, ds, row(op.r, h, mask.place(t) - s), hs);
    }
    round_to(row(op.d_q, b, h, t), sum, hs);
  });
  stream.parallel_for(B * nkv * S, [&](int64_t task, int worker) {
    const int64_t b = task / (nkv * S), kv = task / S % nkv, s = task % S;
    auto* sum = reinterpret_cast<double*>(stream.worker_scratch(worker));
    std::fill_n(sum, hs, 0.0);
    for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
      for (int64_t t = 0; t < T; ++t) {
        const KeyRange keys = mask.keys(b, t);
        if (s < keys.begin || s >= keys.end) continue;
        const double ds = scale * row(op.d_out, b, h, t)[s];
        add_scaled(sum, ds, row(op.q, b, h, t), hs);
        add_scaled(sum, ds, row(op.content_bias, h), hs);
      }
    }
    round_to(row(op.d_k, b, kv, s), sum, hs);
  });
}

ScratchNeed relative_attention_scores_backward_weights_scratch(
    const RelativeAttentionScoresBackwardWeights& op) {
  return {.per_worker = 2 * op.q.dim(3) * int64_t{sizeof(double)}};
}

void relative_attention_scores_backward_weights(Stream& stream,
                                                const RelativeAttentionScoresBackwardWeights& op) {
  const int64_t B = op.q.dim(0), nh = op.q.dim(1), T = op.q.dim(2), hs = op.q.dim(3);
  const int64_t S = op.k.dim(2), group = nh / op.k.dim(1);
  const double scale = scale_or_default(op.scale, hs);
  const AttentionMask mask = relative_mask(op);
  const auto begin = [&](double* sum, const float* gradient) {
    for (int64_t i = 0; i < hs; ++i) sum[i] = op.accumulate ? double{gradient[i]} : 0.0;
  };
  stream.parallel_for(nh * S, [&](int64_t task, int worker) {
    const int64_t h = task / S, distance = task % S;
    auto* sum = reinterpret_cast<double*>(stream.worker_scratch(worker));
    begin(sum, row(op.d_r, h, distance));
    for (int64_t b = 0; b < B; ++b) {
      for (int64_t t = 0; t < T; ++t) {
        const int64_t s = mask.place(t) - distance;
        const KeyRange keys = mask.keys(b, t);
        if (s < keys.begin || s >= keys.end) continue;
        const double ds = scale * row(op.d_out, b, h, t)[s];
        add_scaled(sum, ds, row(op.q, b, h, t), hs);
        add_scaled(sum, ds, row(op.position_bias, h), hs);
      }
    }
    round_to(row(op.d_r, h, distance), sum, hs);
  });
  stream.parallel_for(nh, [&](int64_t h, int worker) {
    auto* content = reinterpret_cast<double*>(stream.worker_scratch(worker));
    double* position = content + hs;
    begin(content, row(op.d_content_bias, h));
    begin(position, row(op.d_position_bias, h));
    for (int64_t b = 0; b < B; ++b) {
      for (int64_t t = 0; t < T; ++t) {
        const KeyRange keys = mask.keys(b, t);
        for (int64_t s = keys.begin; s < keys.end; ++s) {
          const double ds = scale * row(op.d_out, b, h, t)[s];
          add_scaled(content, ds, row(op.k, b, h / group, s), hs);
          add_scaled(position, ds, row(op.r, h, mask.place(t) - s), hs);
        }
      }
    }
    round_to(row(op.d_content_bias, h), content, hs);
    round_to(row(op.d_position_bias, h), position, hs);
  });
}

}  // namespace

void ReferenceBackend::add_relative() {
  add<relative_position_bias_forward>();
  add<relative_position_bias_backward, relative_position_bias_backward_scratch>();
  add<relative_attention_scores_forward, relative_attention_scores_forward_scratch>();
  add<relative_attention_scores_backward_data, relative_attention_scores_backward_data_scratch>();
  add<relative_attention_scores_backward_weights,
      relative_attention_scores_backward_weights_scratch>();
}

}  // namespace msltx::ops
