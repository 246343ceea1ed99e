// RMS normalization over rows of C: x_hat = x rstd, out = x_hat w, rstd = 1 / sqrt(mean(x^2) +
// eps); w is gamma, or 1 + gamma with plus_one.
//
//   d_x = rstd (g - x_hat mean(g x_hat)),  g = d_out w
//   d_gamma = sum over rows of d_out x_hat
//
// The backward for data writes; the backward for weights accumulates where asked.
#include <algorithm>
#include <cmath>

#include "msltx/ops/reference/loops.h"
#include "msltx/ops/reference/reference.h"
#include "msltx/ops/stream.h"

namespace msltx::ops {
namespace {

float rstd_of(const float* x, int64_t C, float eps) {
  return static_cast<float>(1.0 / std::sqrt(dot(x, x, C) / static_cast<double>(C) + double{eps}));
}

void normalize_row(float* out, const float* x, const Tensor& gamma, float offset, int64_t C,
                   float rstd) {
  for (int64_t c = 0; c < C; ++c) out[c] = x[c] * rstd * (offset + gamma.data()[c]);
}

void rmsnorm_forward(Stream& stream, const RmsnormForward& op) {
  const int64_t N = op.x.dim(0), C = op.x.dim(1);
  stream.parallel_for(N, [&](int64_t n, int) {
    const float rstd = rstd_of(row(op.x, n), C, op.eps);
    normalize_row(row(op.out, n), row(op.x, n), op.gamma, op.plus_one ? 1.0f : 0.0f, C, rstd);
    if (op.rstd.defined()) op.rstd.data()[n] = rstd;
  });
}

void residual_rmsnorm_forward(Stream& stream, const ResidualRmsnormForward& op) {
  const int64_t N = op.x.dim(0), C = op.x.dim(1);
  stream.parallel_for(N, [&](int64_t n, int) {
    const float* x = row(op.x, n);
    const float* residual = row(op.residual, n);
    float* sum = row(op.sum, n);
    for (int64_t c = 0; c < C; ++c) sum[c] = x[c] + residual[c];
    const float rstd = rstd_of(sum, C, op.eps);
    normalize_row(row(op.out, n), sum, op.gamma, op.plus_one ? 1.0f : 0.0f, C, rstd);
    if (op.rstd.defined()) op.rstd.data()[n] = rstd;
  });
}

void residual_rmsnorm_backward_data(Stream& stream, const ResidualRmsnormBackwardData& op) {
  const int64_t N = op.sum.dim(0), C = op.sum.dim(1);
  const int64_t block = op.partial_rows > 0 ? op.partial_rows : std::max<int64_t>(N, 1);
  const float offset = op.plus_one ? 1.0f : 0.0f;
  const float* gamma = op.gamma.data();
  stream.parallel_for(std::max<int64_t>(1, (N + block - 1) / block), [&](int64_t p, int) {
    float* d_gamma = op.d_gamma_partials.defined() ? row(op.d_gamma_partials, p) : nullptr;
    if (d_gamma) std::fill_n(d_gamma, C, 0.0f);
    for (int64_t n = p * block; n < std::min(N, (p + 1) * block); ++n) {
      const float* x = row(op.sum, n);
      const float* d_out = row(op.d_out, n);
      const float* d_sum = op.d_sum.defined() ? row(op.d_sum, n) : nullptr;
      const float rstd = op.rstd.defined() ? op.rstd.data()[n] : rstd_of(x, C, op.eps);
      double sum = 0;
      for (int64_t c = 0; c < C; ++c) {
        sum += double{d_out[c] * (offset + gamma[c])} * double{x[c] * rstd};
      }
      const auto mean = static_cast<float>(sum / static_cast<double>(C));
      for (int64_t c = 0; c < C; ++c) {
        const float x_hat = x[c] * rstd, g = d_out[c] * (offset + gamma[c]);
        if (d_gamma) d_gamma[c] += d_out[c] * x_hat;
        row(op.d_x, n)[c] = (d_sum ? d_sum[c] : 0.0f) + rstd * (g - x_hat * mean);
      }
    }
  });
}

void rmsnorm_backward_data(Stream& stream, const RmsnormBackwardData& op) {
  residual_rmsnorm_backward_data(stream, {.d_x = op.d_x,
                                          .d_gamma_partials = op.d_gamma_partials,
                                          .d_out = op.d_out,
                                          .d_sum = {},
                                          .sum = op.x,
                                          .gamma = op.gamma,
                                          .rstd = op.rstd,
                                          .eps = op.eps,
                                          .plus_one = op.plus_one,
                                          .partial_rows = op.partial_rows});
}

void rmsnorm_backward_weights(Stream&, const RmsnormBackwardWeights& op) {
  add_partials(op.d_gamma, op.d_gamma_partials, op.accumulate);
}

}  // namespace

void ReferenceBackend::add_rmsnorm() {
  add<rmsnorm_forward>();
  add<rmsnorm_backward_data>();
  add<rmsnorm_backward_weights>();
  add<residual_rmsnorm_forward>();
  add<residual_rmsnorm_backward_data>();
}

}  // namespace msltx::ops
