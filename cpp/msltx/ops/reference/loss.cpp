// Cross entropy of next tokens: row n loses lse - logits[target], lse = log sum exp(logits); a row
// whose target is ignore_index loses nothing and gets no gradient. logits (N, V), targets (N),
// hidden (N, C), weight (V, C).
//
//   d_logits = factor (exp(logits - lse) - onehot(target)), factor 1 / normalizer or `scale`
//   fused with the output projection, logits = hidden weight^T + bias (with a soft cap, cap tanh of
//   that over cap, and d_logits times its slope from there on):
//   d_hidden = d_logits weight,  d_weight = d_logits^T hidden,  d_bias = sum over rows of d_logits
//
// Rows' losses are added up in order, in float64. d_weight and d_bias accumulate where asked, all
// else is overwritten. The fused op holds one row of logits and makes it twice: row by row for
// d_hidden, token by token for d_weight.
#include <algorithm>

#include "msltx/ops/reference/loops.h"
#include "msltx/ops/reference/reference.h"
#include "msltx/ops/reference/softcap.h"
#include "msltx/ops/stream.h"

namespace msltx::ops {
namespace {

constexpr auto kDouble = int64_t{sizeof(double)};

double normalizer_or_count(float normalizer, const Tensor& targets, int64_t ignore_index) {
  if (normalizer != 0) return normalizer;
  const auto* first = targets.data<int32_t>();
  const auto ignored = std::count(first, first + targets.dim(0), ignore_index);
  return static_cast<double>(targets.dim(0) - ignored);
}

ScratchNeed softmax_cross_entropy_forward_scratch(const SoftmaxCrossEntropyForward& op) {
  return {.shared = op.logits.dim(0) * kDouble};
}

void softmax_cross_entropy_forward(Stream& stream, const SoftmaxCrossEntropyForward& op) {
  const int64_t N = op.logits.dim(0), V = op.logits.dim(1);
  auto* losses = reinterpret_cast<double*>(stream.shared_scratch());
  stream.parallel_for(N, [&](int64_t n, int) {
    const float* logits = row(op.logits, n);
    const int32_t target = op.targets.data<int32_t>()[n];
    const double lse = log_sum_exp(logits, V);
    losses[n] = target == op.ignore_index ? 0 : lse - logits[target];
    if (op.lse.defined()) op.lse.data()[n] = static_cast<float>(lse);
  });
  double sum = 0;
  for (int64_t n = 0; n < N; ++n) sum += losses[n];
  const double normalizer = normalizer_or_count(op.normalizer, op.targets, op.ignore_index);
  op.loss.data()[0] = normalizer == 0 ? 0 : static_cast<float>(sum / normalizer);
}

void softmax_cross_entropy_backward(Stream& stream, const SoftmaxCrossEntropyBackward& op) {
  const int64_t V = op.logits.dim(1);
  const double normalizer = normalizer_or_count(op.normalizer, op.targets, op.ignore_index);
  stream.parallel_for(op.logits.dim(0), [&](int64_t n, int) {
    const float* logits = row(op.logits, n);
    const int32_t target = op.targets.data<int32_t>()[n];
    const double lse = op.lse.data()[n];
    float* d_logits = row(op.d_logits, n);
    if (target == op.ignore_index) {
      std::fill_n(d_logits, V, 0.0f);
      return;
    }
    for (int64_t v = 0; v < V; ++v) {
      const double probability = std::exp(double{logits[v]} - lse);
      d_logits[v] = static_cast<float>((probability - (v == target ? 1 : 0)) / normalizer);
    }
  });
}

// Entry v of hidden weight^T + bias, capped where there is a cap.
float logit(const float* hidden, const Tensor& weight, const Tensor& bias, float cap, int64_t v) {
  const double sum = dot(hidden, row(weight, v), weight.dim(1));
  const auto z = static_cast<float>(bias.defined() ? sum + bias.data()[v] : sum);
  return cap > 0 ? softcapped(z, cap) : z;
}

ScratchNeed linear_cross_entropy_forward_scratch(const LinearCrossEntropyForward& op) {
  return {.per_worker = op.weight.dim(0) * int64_t{sizeof(float)},
          .shared = op.hidden.dim(0) * kDouble};
}

void linear_cross_entropy_forward(Stream& stream, const LinearCrossEntropyForward& op) {
  const int64_t N = op.hidden.dim(0), V = op.weight.dim(0);
  auto* losses = reinterpret_cast<double*>(stream.shared_scratch());
  stream.parallel_for(N, [&](int64_t n, int worker) {
    const int32_t target = op.targets.data<int32_t>()[n];
    losses[n] = 0;
    if (target == op.ignore_index) return;
    auto* logits = reinterpret_cast<float*>(stream.worker_scratch(worker));
    for (int64_t v = 0; v < V; ++v)
      logits[v] = logit(row(op.hidden, n), op.weight, op.bias, op.logit_softcap, v);
    losses[n] = log_sum_exp(logits, V) - logits[target];
  });
  double sum = 0;
  for (int64_t n = 0; n < N; ++n) sum += losses[n];
  op.loss.data()[0] = static_cast<float>(sum * op.scale);
}

ScratchNeed linear_cross_entropy_forward_backward_scratch(
    const LinearCrossEntropyForwardBackward& op) {
  return {
      .per_worker = op.weight.dim(1) * kDouble + op.weight.dim(0) * int64_t{sizeof(float)},
      .shared = 2 * op.hidden.dim(0) * kDouble,
  };
}

void linear_cross_entropy_forward_backward(Stream& stream,
                                           const LinearCrossEntropyForwardBackward& op) {
  const int64_t N = op.hidden.dim(0), C = op.hidden.dim(1), V = op.weight.dim(0);
  const auto* targets = op.targets.data<int32_t>();
  auto* losses = reinterpret_cast<double*>(stream.shared_scratch());
  double* lse = losses + N;
  const auto d_logit = [&](int64_t n, int64_t v, float logit) {
    const double slope = op.logit_softcap > 0 ? softcap_slope(logit, op.logit_softcap) : 1;
    return op.scale * slope * (std::exp(double{logit} - lse[n]) - (v == targets[n] ? 1 : 0));
  };
  stream.parallel_for(N, [&](int64_t n, int worker) {
    auto* d_hidden = reinterpret_cast<double*>(stream.worker_scratch(worker));
    auto* logits = reinterpret_cast<float*>(d_hidden + C);
    std::fill_n(d_hidden, C, 0.0);
    losses[n] = 0;
    if (targets[n] != op.ignore_index) {
      for (int64_t v = 0; v < V; ++v)
        logits[v] = logit(row(op.hidden, n), op.weight, op.bias, op.logit_softcap, v);
      lse[n] = log_sum_exp(logits, V);
      losses[n] = lse[n] - logits[targets[n]];
      for (int64_t v = 0; v < V; ++v) {
        add_scaled(d_hidden, d_logit(n, v, logits[v]), row(op.weight, v), C);
      }
    }
    round_to(row(op.d_hidden, n), d_hidden, C);
  });
  double sum = 0;
  for (int64_t n = 0; n < N; ++n) sum += losses[n];
  op.loss.data()[0] = static_cast<float>(sum * op.scale);

  stream.parallel_for(V, [&](int64_t v, int worker) {
    float* out = row(op.d_weight, v);
    auto* d_weight = reinterpret_cast<double*>(stream.worker_scratch(worker));
    for (int64_t c = 0; c < C; ++c) d_weight[c] = op.accumulate ? out[c] : 0.0f;
    double d_bias = op.accumulate && op.d_bias.defined() ? op.d_bias.data()[v] : 0.0f;
    for (int64_t n = 0; n < N; ++n) {
      if (targets[n] == op.ignore_index) continue;
      const double d =
          d_logit(n, v, logit(row(op.hidden, n), op.weight, op.bias, op.logit_softcap, v));
      add_scaled(d_weight, d, row(op.hidden, n), C);
      d_bias += d;
    }
    round_to(out, d_weight, C);
    if (op.d_bias.defined()) op.d_bias.data()[v] = static_cast<float>(d_bias);
  });
}

}  // namespace

void ReferenceBackend::add_loss() {
  add<softmax_cross_entropy_forward, softmax_cross_entropy_forward_scratch>();
  add<softmax_cross_entropy_backward>();
  add<linear_cross_entropy_forward, linear_cross_entropy_forward_scratch>();
  add<linear_cross_entropy_forward_backward, linear_cross_entropy_forward_backward_scratch>();
}

}  // namespace msltx::ops
