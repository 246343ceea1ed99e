// The weights' gradients of a normalization: how rows fall into partial sums, and what adds them
// up. Sums are kept per block of 64 rows (restarting at every partial) and added up in block order,
// so that blocks can be tasks.
#pragma once

#include <algorithm>
#include <cstdint>

#include "msltx/ops/cpu/tasks.h"

namespace msltx::ops::cpu {

struct NormBlocks {
  static constexpr int64_t kRows = 64;
  int64_t N, C, partial_rows, partials, per_partial;

  NormBlocks(int64_t n, int64_t c, int64_t rows) : N(n), C(c) {
    partial_rows = rows > 0 ? rows : std::max<int64_t>(N, 1);
    partials = std::max<int64_t>(1, ceil_div(N, partial_rows));
    per_partial = ceil_div(std::min(partial_rows, std::max<int64_t>(N, 1)), kRows);
  }
  int64_t count() const { return partials * per_partial; }
  int64_t first(int64_t block) const {
    return std::min(N, block / per_partial * partial_rows + block % per_partial * kRows);
  }
  int64_t end(int64_t block) const {
    const int64_t partial_end = std::min(N, (block / per_partial + 1) * partial_rows);
    return std::min(partial_end, first(block) + kRows);
  }
  // Bytes of scratch for a row of sums per block and weight.
  int64_t scratch(int64_t weights) const { return weights * count() * C * int64_t{sizeof(float)}; }
};

// Partial sums in their order.
inline void add_partials(const Tensor& sum, const Tensor& partials, bool accumulate) {
  if (!sum.defined()) return;
  const Matrix rows = matrix(partials);
  float* out = sum.data();
  const int64_t C = sum.size();
  if (!accumulate) std::fill_n(out, C, 0.0f);
  for (int64_t p = 0; p < partials.dim(0); ++p) {
    for (int64_t c = 0; c < C; ++c) out[c] += rows.row(p)[c];
  }
}

}  // namespace msltx::ops::cpu
