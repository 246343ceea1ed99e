// Layer normalization over rows of C: x_hat = (x - mean) rstd, out = x_hat gamma + beta.
//
//   d_x = rstd (g - mean(g) - x_hat mean(g x_hat)),  g = d_out gamma
//   d_gamma = sum over rows of d_out x_hat,  d_beta = sum over rows of d_out
//
// The backward for data writes; the backward for weights accumulates where asked.
#include <algorithm>
#include <cmath>

#include "msltx/ops/reference/loops.h"
#include "msltx/ops/reference/reference.h"
#include "msltx/ops/stream.h"

namespace msltx::ops {
namespace {

struct Statistics {
  float mean, rstd;
};

Statistics statistics(const float* x, int64_t C, float eps) {
  double sum = 0, squares = 0;
  for (int64_t c = 0; c < C; ++c) sum += x[c];
  const double mean = sum / static_cast<double>(C);
  for (int64_t c = 0; c < C; ++c) squares += (x[c] - mean) * (x[c] - mean);
  const double variance = squares / static_cast<double>(C);
  return {static_cast<float>(mean), static_cast<float>(1.0 / std::sqrt(variance + double{eps}))};
}

void normalize_row(float* out, const float* x, const Tensor& gamma, const Tensor& beta, int64_t C,
                   Statistics s) {
  for (int64_t c = 0; c < C; ++c) {
    out[c] = (x[c] - s.mean) * s.rstd * gamma.data()[c] + (beta.defined() ? beta.data()[c] : 0.0f);
  }
}

void layernorm_forward(Stream& stream, const LayernormForward& op) {
  const int64_t N = op.x.dim(0), C = op.x.dim(1);
  stream.parallel_for(N, [&](int64_t n, int) {
    const float* x = op.x.data() + n * op.x.stride(0);
    const Statistics s = statistics(x, C, op.eps);
    normalize_row(op.out.data() + n * op.out.stride(0), x, op.gamma, op.beta, C, s);
    if (op.mean.defined()) op.mean.data()[n] = s.mean;
    if (op.rstd.defined()) op.rstd.data()[n] = s.rstd;
  });
}

void residual_layernorm_forward(Stream& stream, const ResidualLayernormForward& op) {
  const int64_t N = op.x.dim(0), C = op.x.dim(1);
  stream.parallel_for(N, [&](int64_t n, int) {
    const float* x = op.x.data() + n * op.x.stride(0);
    const float* residual = op.residual.data() + n * op.residual.stride(0);
    float* sum = op.sum.data() + n * op.sum.stride(0);
    for (int64_t c = 0; c < C; ++c) sum[c] = x[c] + residual[c];
    const Statistics s = statistics(sum, C, op.eps);
    normalize_row(op.out.data() + n * op.out.stride(0), sum, op.gamma, op.beta, C, s);
    if (op.mean.defined()) op.mean.data()[n] = s.mean;
    if (op.rstd.defined()) op.rstd.data()[n] = s.rstd;
  });
}

// Both backwards; `d_sum` is undefined for the plain one.
void backward_data(Stream& stream, const Tensor& d_x, const Tensor& d_gamma_partials,
                   const Tensor& d_beta_partials, const Tensor& d_out, const Tensor& d_sum,
                   const Tensor& x, const Tensor& gamma, const Tensor& mean, const Tensor& rstd,
                   float eps, int64_t partial_rows) {
  const int64_t N = x.dim(0), C = x.dim(1);
  const int64_t block = partial_rows > 0 ? partial_rows : std::max<int64_t>(N, 1);
  stream.parallel_for(std::max<int64_t>(1, (N + block - 1) / block), [&](int64_t p, int) {
    float* d_gamma = d_gamma_partials.defined() ? row(d_gamma_partials, p) : nullptr;
    float* d_beta = d_beta_partials.defined() ? row(d_beta_partials, p) : nullptr;
    if (d_gamma) std::fill_n(d_gamma, C, 0.0f);
    if (d_beta) std::fill_n(d_beta, C, 0.0f);
    for (int64_t n = p * block; n < std::min(N, (p + 1) * block); ++n) {
      const float* x_row = row(x, n);
      const float* d = row(d_out, n);
      const Statistics s = mean.defined() && rstd.defined()
                               ? Statistics{mean.data()[n], rstd.data()[n]}
                               : statistics(x_row, C, eps);
      double g_sum = 0, g_x_sum = 0;
      for (int64_t c = 0; c < C; ++c) {
        const float x_hat = (x_row[c] - s.mean) * s.rstd;
        const float g = d[c] * gamma.data()[c];
        g_sum += g;
        g_x_sum += double{g} * double{x_hat};
      }
      const auto g_mean = static_cast<float>(g_sum / static_cast<double>(C));
      const auto g_x_mean = static_cast<float>(g_x_sum / static_cast<double>(C));
      for (int64_t c = 0; c < C; ++c) {
        const float x_hat = (x_row[c] - s.mean) * s.rstd;
        const float g = d[c] * gamma.data()[c];
        if (d_gamma) d_gamma[c] += d[c] * x_hat;
        if (d_beta) d_beta[c] += d[c];
        const float through = d_sum.defined() ? d_sum.data()[n * d_sum.stride(0) + c] : 0.0f;
        d_x.data()[n * d_x.stride(0) + c] = through + s.rstd * (g - g_mean - x_hat * g_x_mean);
      }
    }
  });
}

void layernorm_backward_data(Stream& stream, const LayernormBackwardData& op) {
  backward_data(stream, op.d_x, op.d_gamma_partials, op.d_beta_partials, op.d_out, Tensor{}, op.x,
                op.gamma, op.mean, op.rstd, op.eps, op.partial_rows);
}

void residual_layernorm_backward_data(Stream& stream, const ResidualLayernormBackwardData& op) {
  backward_data(stream, op.d_x, op.d_gamma_partials, op.d_beta_partials, op.d_out, op.d_sum, op.sum,
                op.gamma, op.mean, op.rstd, op.eps, op.partial_rows);
}

void layernorm_backward_weights(Stream&, const LayernormBackwardWeights& op) {
  add_partials(op.d_gamma, op.d_gamma_partials, op.accumulate);
  add_partials(op.d_beta, op.d_beta_partials, op.accumulate);
}

}  // namespace

void ReferenceBackend::add_norm() {
  add<layernorm_forward>();
  add<layernorm_backward_data>();
  add<layernorm_backward_weights>();
  add<residual_layernorm_forward>();
  add<residual_layernorm_backward_data>();
}

}  // namespace msltx::ops
