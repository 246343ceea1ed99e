// RMS normalization; the formulas are in reference/rmsnorm.cpp. Faster than it: vectors, and a
// row's passes follow each other while it is in the first-level cache. Several rows go together, so
// that their horizontal sums, divisions and square roots overlap and the sums for gamma are loaded
// and stored once for all of them.
#include <cmath>

#include "msltx/ops/cpu/cpu.h"
#include "msltx/ops/cpu/norm_sums.h"
#include "msltx/ops/cpu/rows.h"
#include "msltx/ops/cpu/tasks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "msltx/ops/cpu/rmsnorm.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "msltx/ops/cpu/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace msltx::ops::cpu::HWY_NAMESPACE {

// Rows that go together.
constexpr int kTogether = 4;

// Reciprocal root mean squares of kRows rows of x.
template <int kRows, class In>
HWY_INLINE void statistics(MatrixOf<In> x, int64_t C, float eps, float (&rstd)[kRows]) {
  double totals[kRows];
  sums(C, totals, [&](auto io, int64_t c, int64_t count, VF* s) HWY_ATTR {
    for (int r = 0; r < kRows; ++r) {
      const VF v = io.load(x.row(r) + c, count);
      s[r] = hn::MulAdd(v, v, s[r]);
    }
  });
  for (int r = 0; r < kRows; ++r) {
    rstd[r] = static_cast<float>(1.0 / std::sqrt(totals[r] / static_cast<double>(C) + double{eps}));
  }
}

// Rows [n, n + kRows); the plain op has no sum and no residual.
template <int kRows, class In, class Out>
HWY_INLINE void forward(const ResidualRmsnormForward& op, int64_t n) {
  const int64_t C = op.x.dim(1);
  const auto out = matrix<Out>(op.out, n);
  auto x = matrix<In>(op.x, n);
  if (op.sum.defined()) {
    const auto total = matrix<In>(op.sum, n), residual = matrix<In>(op.residual, n);
    for (int r = 0; r < kRows; ++r) {
      map(C, total.row(r), [](VF a, VF b) { return hn::Add(a, b); }, x.row(r), residual.row(r));
    }
    x = total;
  }
  float rstd[kRows];
  statistics(x, C, op.eps, rstd);
  const float* gamma = op.gamma.data();
  const VF offset = set(op.plus_one ? 1.0f : 0.0f);
  for_vectors(0, C, [&](auto io, int64_t c, int64_t count) HWY_ATTR {
    const VF scale = hn::Add(offset, io.load(gamma + c, count));
    for (int r = 0; r < kRows; ++r) {
      const VF x_hat = hn::Mul(io.load(x.row(r) + c, count), set(rstd[r]));
      io.store(hn::Mul(x_hat, scale), out.row(r) + c, count);
    }
  });
  for (int r = 0; r < kRows && op.rstd.defined(); ++r) op.rstd.data()[n + r] = rstd[r];
}

// d_x of rows [n, n + kRows); adds to d_gamma, which may be null.
template <int kRows, class E>
HWY_INLINE void backward(const ResidualRmsnormBackwardData& op, int64_t n, float* d_gamma) {
  const int64_t C = op.sum.dim(1);
  const auto x = matrix<E>(op.sum, n), d_out = matrix<E>(op.d_out, n),
             d_sum = matrix<E>(op.d_sum, n), d_x = matrix<E>(op.d_x, n);
  const float* gamma = op.gamma.data();
  const VF offset = set(op.plus_one ? 1.0f : 0.0f);
  float rstd[kRows];
  if (op.rstd.defined()) {
    for (int r = 0; r < kRows; ++r) rstd[r] = op.rstd.data()[n + r];
  } else {
    statistics(x, C, op.eps, rstd);
  }
  double totals[kRows];  // of g x
  sums(C, totals, [&](auto io, int64_t c, int64_t count, VF* s) HWY_ATTR {
    const VF scale = hn::Add(offset, io.load(gamma + c, count));
    for (int r = 0; r < kRows; ++r) {
      const VF g = hn::Mul(io.load(d_out.row(r) + c, count), scale);
      s[r] = hn::MulAdd(g, hn::Mul(io.load(x.row(r) + c, count), set(rstd[r])), s[r]);
    }
  });
  VF mean[kRows];
  for (int r = 0; r < kRows; ++r) {
    mean[r] = set(static_cast<float>(totals[r] / static_cast<double>(C)));
  }
  for_vectors(0, C, [&](auto io, int64_t c, int64_t count) HWY_ATTR {
    const VF scale = hn::Add(offset, io.load(gamma + c, count));
    VF gamma_sum = d_gamma ? io.load(d_gamma + c, count) : hn::Zero(F());
    for (int r = 0; r < kRows; ++r) {
      const VF d = io.load(d_out.row(r) + c, count);
      const VF x_hat = hn::Mul(io.load(x.row(r) + c, count), set(rstd[r]));
      gamma_sum = hn::MulAdd(d, x_hat, gamma_sum);
      const VF rest = hn::NegMulAdd(x_hat, mean[r], hn::Mul(d, scale));
      const VF through = d_sum ? io.load(d_sum.row(r) + c, count) : hn::Zero(F());
      io.store(hn::MulAdd(set(rstd[r]), rest, through), d_x.row(r) + c, count);
    }
    if (d_gamma) io.store(gamma_sum, d_gamma + c, count);
  });
}

// A row's bits do not depend on how many rows go with it.
void rmsnorm_forward_rows(const ResidualRmsnormForward& op, int64_t n, int64_t rows) {
  with_type(op.x.dtype, [&]<class In>(In) {
    with_type(op.out.dtype, [&]<class Out>(Out) {
      const int64_t end = n + rows;
      for (; n + kTogether <= end; n += kTogether) forward<kTogether, In, Out>(op, n);
      for (; n < end; ++n) forward<1, In, Out>(op, n);
    });
  });
}

void rmsnorm_backward_rows(const ResidualRmsnormBackwardData& op, int64_t n, int64_t rows,
                           float* d_gamma) {
  with_type(op.sum.dtype, [&]<class E>(E) {
    const int64_t end = n + rows;
    for (; n + kTogether <= end; n += kTogether) backward<kTogether, E>(op, n, d_gamma);
    for (; n < end; ++n) backward<1, E>(op, n, d_gamma);
  });
}

}  // namespace msltx::ops::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace msltx::ops {
namespace cpu {

HWY_EXPORT(rmsnorm_forward_rows);
HWY_EXPORT(rmsnorm_backward_rows);

namespace {

void residual_rmsnorm_forward(Stream& stream, const ResidualRmsnormForward& op) {
  const auto run = HWY_DYNAMIC_DISPATCH(rmsnorm_forward_rows);
  for_row_blocks(stream, op.x.dim(0), op.x.dim(1),
                 [&](int64_t n, int64_t rows, int) { run(op, n, rows); });
}

void rmsnorm_forward(Stream& stream, const RmsnormForward& op) {
  residual_rmsnorm_forward(stream, {.out = op.out,
                                    .sum = {},
                                    .rstd = op.rstd,
                                    .x = op.x,
                                    .residual = {},
                                    .gamma = op.gamma,
                                    .eps = op.eps,
                                    .plus_one = op.plus_one});
}

ScratchNeed residual_rmsnorm_backward_data_scratch(const ResidualRmsnormBackwardData& op) {
  return {.shared = NormBlocks(op.sum.dim(0), op.sum.dim(1), op.partial_rows).scratch(1)};
}

void residual_rmsnorm_backward_data(Stream& stream, const ResidualRmsnormBackwardData& op) {
  const NormBlocks blocks(op.sum.dim(0), op.sum.dim(1), op.partial_rows);
  const int64_t C = blocks.C;
  auto* sums = reinterpret_cast<float*>(stream.shared_scratch());
  const Matrix d_gamma = matrix(op.d_gamma_partials);
  const auto run = HWY_DYNAMIC_DISPATCH(rmsnorm_backward_rows);
  stream.parallel_for(blocks.count(), [&](int64_t block, int) {
    float* sum = d_gamma ? sums + block * C : nullptr;
    if (sum) std::fill_n(sum, C, 0.0f);
    run(op, blocks.first(block), blocks.end(block) - blocks.first(block), sum);
  });
  if (!d_gamma) return;
  stream.parallel_for(blocks.partials, [&](int64_t p, int) {
    column_sums(d_gamma.row(p), sums + p * blocks.per_partial * C, blocks.per_partial, C, C);
  });
}

ScratchNeed rmsnorm_backward_data_scratch(const RmsnormBackwardData& op) {
  return {.shared = NormBlocks(op.x.dim(0), op.x.dim(1), op.partial_rows).scratch(1)};
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
}  // namespace cpu

void CpuBackend::add_rmsnorm() {
  add<cpu::rmsnorm_forward>(true);
  add<cpu::rmsnorm_backward_data, cpu::rmsnorm_backward_data_scratch>(true);
  add<cpu::rmsnorm_backward_weights>();
  add<cpu::residual_rmsnorm_forward>(true);
  add<cpu::residual_rmsnorm_backward_data, cpu::residual_rmsnorm_backward_data_scratch>(true);
}

}  // namespace msltx::ops
#endif
