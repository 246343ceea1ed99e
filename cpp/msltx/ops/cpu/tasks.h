// How the cpu backend's kernels look at tensors and cut work into tasks: by shape alone.
#pragma once

#include <algorithm>
#include <cstdint>

#include "msltx/base/tensor.h"
#include "msltx/ops/stream.h"

namespace msltx::ops::cpu {

// Rows of numbers, each contiguous, `stride` elements apart; `data` is null where a tensor is
// absent.
template <class T>
struct MatrixOf {
  T* data = nullptr;
  int64_t stride = 0;

  explicit operator bool() const { return data != nullptr; }
  T* row(int64_t i) const { return data + i * stride; }
  MatrixOf from(int64_t i) const { return {row(i), stride}; }
};
using Matrix = MatrixOf<float>;

// A (rows, columns) tensor from row `first` on.
template <class T = float>
MatrixOf<T> matrix(const Tensor& t, int64_t first = 0) {
  if (!t.defined()) return {};
  return {t.data<T>() + first * t.stride(0), t.stride(0)};
}

// A (B, heads, rows, columns) tensor at [b, head].
template <class T = float>
MatrixOf<T> matrix(const Tensor& t, int64_t b, int64_t head) {
  return {t.data<T>() + b * t.stride(0) + head * t.stride(1), t.stride(2)};
}

// Rows of one of the compute types, where a function takes either.
struct AnyMatrix {
  DType dtype = DType::float32;
  void* data = nullptr;
  int64_t stride = 0;

  AnyMatrix(float* from, int64_t row_stride) : data(from), stride(row_stride) {}
  AnyMatrix(bfloat16* from, int64_t row_stride)
      : dtype(DType::bfloat16), data(from), stride(row_stride) {}
  // A (rows, columns) tensor from row `first` on, and from column `column`.
  explicit AnyMatrix(const Tensor& t, int64_t first = 0, int64_t column = 0)
      : dtype(t.dtype),
        data(t.data<char>() + (first * t.stride(0) + column) * size_of(t.dtype)),
        stride(t.stride(0)) {}

  template <class T>
  MatrixOf<T> as() const {
    return {static_cast<T*>(data), stride};
  }
  // From row i on.
  AnyMatrix from(int64_t i) const {
    AnyMatrix rest = *this;
    rest.data = static_cast<char*>(data) + i * stride * size_of(dtype);
    return rest;
  }
};

// A (B, heads, rows, columns) tensor at [b, head].
inline AnyMatrix head_of(const Tensor& t, int64_t b, int64_t head) {
  AnyMatrix rows(t, b, head * t.stride(1));
  rows.stride = t.stride(2);
  return rows;
}

// fn(float()) or fn(bfloat16()).
template <class Fn>
void with_type(DType dtype, Fn&& fn) {
  if (dtype == DType::bfloat16) {
    fn(bfloat16());
  } else {
    fn(float());
  }
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
