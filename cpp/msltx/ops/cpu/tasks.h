// How the cpu backend's kernels look at tensors and cut work into tasks: by shape alone.
#pragma once

#include <algorithm>
#include <cstdint>

#include "msltx/base/tensor.h"
#include "msltx/ops/stream.h"

namespace msltx::ops::cpu {

// Rows of floats, each contiguous, `stride` elements apart; `data` is null where a tensor is
// absent.
struct Matrix {
  float* data = nullptr;
  int64_t stride = 0;

  explicit operator bool() const { return data != nullptr; }
  float* row(int64_t i) const { return data + i * stride; }
};

// A (rows, columns) tensor from row `first` on.
inline Matrix matrix(const Tensor& t, int64_t first = 0) {
  if (!t.defined()) return {};
  return {t.data() + first * t.stride(0), t.stride(0)};
}

// A (B, heads, rows, columns) tensor at [b, head].
inline Matrix matrix(const Tensor& t, int64_t b, int64_t head) {
  return {t.data() + b * t.stride(0) + head * t.stride(1), t.stride(2)};
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// fn(first_row, rows, worker) for blocks of whole rows of about 16K elements: enough work to repay
// a task's start (about 0.1 us), little enough to share out evenly.
template <class Fn>
void for_row_blocks(Stream& stream, int64_t rows, int64_t width, Fn&& fn) {
  constexpr int64_t kElements = 16384;
  const int64_t block = std::max<int64_t>(1, kElements / std::max<int64_t>(1, width));
  stream.parallel_for(ceil_div(rows, block), [&](int64_t task, int worker) {
    const int64_t first = task * block;
    fn(first, std::min(block, rows - first), worker);
  });
}

}  // namespace msltx::ops::cpu
