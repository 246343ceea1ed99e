// Linear: pre = x weight^T + bias, out = activation(pre). x (N, C), weight (O, C), out (N, O).
//
//   d_pre = d_out activation'(pre),  d_x = d_pre weight
//   d_weight = d_pre^T x,  d_bias = sum over rows of d_pre
//
// The backward for data writes, d_bias as one partial sum per `partial_rows` rows; the backward for
// weights accumulates where asked.
#include <algorithm>

#include "msltx/ops/reference/activations.h"
#include "msltx/ops/reference/loops.h"
#include "msltx/ops/reference/reference.h"
#include "msltx/ops/stream.h"

namespace msltx::ops {
namespace {

void linear_forward(Stream& stream, const LinearForward& op) {
  const int64_t N = op.x.dim(0), C = op.x.dim(1), O = op.weight.dim(0);
  stream.parallel_for(N, [&](int64_t n, int) {
    for (int64_t o = 0; o < O; ++o) {
      double sum = dot(row(op.x, n), row(op.weight, o), C);
      if (op.bias.defined()) sum += op.bias.data()[o];
      const auto pre = static_cast<float>(sum);
      if (op.pre.defined()) row(op.pre, n)[o] = pre;
      row(op.out, n)[o] = static_cast<float>(activate(op.activation, pre));
    }
  });
}

ScratchNeed linear_backward_data_scratch(const LinearBackwardData& op) {
  return {.per_worker = op.weight.dim(1) * int64_t{sizeof(double)}};
}

void linear_backward_data(Stream& stream, const LinearBackwardData& op) {
  const int64_t N = op.d_out.dim(0), C = op.weight.dim(1), O = op.weight.dim(0);
  const Tensor& d_pre = op.activation == Activation::none ? op.d_out : op.d_pre;
  stream.parallel_for(N, [&](int64_t n, int worker) {
    if (op.activation != Activation::none) {
      for (int64_t o = 0; o < O; ++o) {
        row(d_pre, n)[o] = static_cast<float>(double{row(op.d_out, n)[o]} *
                                              derivative(op.activation, row(op.pre, n)[o]));
      }
    }
    auto* sum = reinterpret_cast<double*>(stream.worker_scratch(worker));
    std::fill_n(sum, C, 0.0);
    for (int64_t o = 0; o < O; ++o) add_scaled(sum, row(d_pre, n)[o], row(op.weight, o), C);
    round_to(row(op.d_x, n), sum, C);
  });
  if (!op.d_bias_partials.defined()) return;
  const int64_t block = op.partial_rows > 0 ? op.partial_rows : N;
  stream.parallel_for(op.d_bias_partials.dim(0), [&](int64_t p, int) {
    for (int64_t o = 0; o < O; ++o) {
      double sum = 0;
      for (int64_t n = p * block; n < std::min(N, (p + 1) * block); ++n) sum += row(d_pre, n)[o];
      row(op.d_bias_partials, p)[o] = static_cast<float>(sum);
    }
  });
}

ScratchNeed linear_backward_weights_scratch(const LinearBackwardWeights& op) {
  return {.per_worker = op.x.dim(1) * int64_t{sizeof(double)}};
}

void linear_backward_weights(Stream& stream, const LinearBackwardWeights& op) {
  const int64_t N = op.x.dim(0), C = op.x.dim(1), O = op.d_pre.dim(1);
  stream.parallel_for(O, [&](int64_t o, int worker) {
    float* d_weight = row(op.d_weight, o);
    auto* sum = reinterpret_cast<double*>(stream.worker_scratch(worker));
    for (int64_t c = 0; c < C; ++c) sum[c] = op.accumulate ? d_weight[c] : 0.0f;
    for (int64_t n = 0; n < N; ++n) add_scaled(sum, row(op.d_pre, n)[o], row(op.x, n), C);
    round_to(d_weight, sum, C);
    if (!op.d_bias.defined()) return;
    double total = op.accumulate ? op.d_bias.data()[o] : 0.0f;
    for (int64_t p = 0; p < op.d_bias_partials.dim(0); ++p) total += row(op.d_bias_partials, p)[o];
    op.d_bias.data()[o] = static_cast<float>(total);
  });
}

}  // namespace

void ReferenceBackend::add_linear() {
  add<linear_forward>();
  add<linear_backward_data, linear_backward_data_scratch>();
  add<linear_backward_weights, linear_backward_weights_scratch>();
}

}  // namespace msltx::ops
