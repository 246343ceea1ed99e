// GELU, residual addition and softmax over rows of C; x (N, C). Every backward overwrites.
//
//   gelu:         d_x = d_out gelu'(x); the formulas are in gelu.h
//   residual_add: d_x = d_residual = d_out
//   softmax:      d_x = out (d_out - sum(d_out out))
#include <algorithm>

#include "msltx/ops/reference/gelu.h"
#include "msltx/ops/reference/loops.h"
#include "msltx/ops/reference/reference.h"
#include "msltx/ops/stream.h"

namespace msltx::ops {
namespace {

void gelu_forward(Stream& stream, const GeluForward& op) {
  const auto gelu = op.approximate == Approximation::tanh ? gelu_tanh : gelu_erf;
  stream.parallel_for(op.x.dim(0), [&](int64_t n, int) {
    const float* x = row(op.x, n);
    float* out = row(op.out, n);
    for (int64_t c = 0; c < op.x.dim(1); ++c) out[c] = static_cast<float>(gelu(x[c]));
  });
}

void gelu_backward(Stream& stream, const GeluBackward& op) {
  const auto derivative =
      op.approximate == Approximation::tanh ? gelu_tanh_derivative : gelu_erf_derivative;
  stream.parallel_for(op.x.dim(0), [&](int64_t n, int) {
    const float* x = row(op.x, n);
    const float* d_out = row(op.d_out, n);
    float* d_x = row(op.d_x, n);
    for (int64_t c = 0; c < op.x.dim(1); ++c) {
      d_x[c] = static_cast<float>(double{d_out[c]} * derivative(x[c]));
    }
  });
}

void residual_add_forward(Stream& stream, const ResidualAddForward& op) {
  stream.parallel_for(op.x.dim(0), [&](int64_t n, int) {
    const float* x = row(op.x, n);
    const float* residual = row(op.residual, n);
    float* out = row(op.out, n);
    for (int64_t c = 0; c < op.x.dim(1); ++c) out[c] = x[c] + residual[c];
  });
}

void residual_add_backward(Stream& stream, const ResidualAddBackward& op) {
  const int64_t C = op.d_out.dim(1);
  stream.parallel_for(op.d_out.dim(0), [&](int64_t n, int) {
    const float* d_out = row(op.d_out, n);
    std::copy_n(d_out, C, row(op.d_residual, n));
    if (row(op.d_x, n) != d_out) std::copy_n(d_out, C, row(op.d_x, n));
  });
}

void softmax_forward(Stream& stream, const SoftmaxForward& op) {
  const int64_t C = op.x.dim(1);
  stream.parallel_for(op.x.dim(0), [&](int64_t n, int) {
    const float* x = row(op.x, n);
    float* out = row(op.out, n);
    const float max = largest(x, C);
    if (max == kMinusInfinity) {
      std::fill_n(out, C, 0.0f);
      return;
    }
    const double sum = sum_of_exponentials(x, max, C);
    for (int64_t c = 0; c < C; ++c) {
      out[c] = static_cast<float>(std::exp(double{x[c]} - double{max}) / sum);
    }
  });
}

void softmax_backward(Stream& stream, const SoftmaxBackward& op) {
  const int64_t C = op.forward_out.dim(1);
  stream.parallel_for(op.forward_out.dim(0), [&](int64_t n, int) {
    const float* out = row(op.forward_out, n);
    const float* d_out = row(op.d_out, n);
    float* d_x = row(op.d_x, n);
    const double mean = dot(d_out, out, C);
    for (int64_t c = 0; c < C; ++c) d_x[c] = static_cast<float>(out[c] * (d_out[c] - mean));
  });
}

}  // namespace

void ReferenceBackend::add_elementwise() {
  add<gelu_forward>();
  add<gelu_backward>();
  add<residual_add_forward>();
  add<residual_add_backward>();
  add<softmax_forward>();
  add<softmax_backward>();
}

}  // namespace msltx::ops
