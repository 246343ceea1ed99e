// Matrices that tests of matrix products fill, hand to ops as tensors and compare.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "msltx/ops/ops.h"

namespace msltx::ops {

// A matrix whose rows lie `gap` elements further apart than they are long, NaN in the gaps.
struct Matrix {
  int64_t rows, cols, stride;
  std::vector<float> data;

  Matrix(int64_t r, int64_t c, int64_t gap = 0)
      : rows(r),
        cols(c),
        stride(c + gap),
        data(static_cast<size_t>(r * (c + gap)), std::numeric_limits<float>::quiet_NaN()) {}

  static Matrix random(int64_t r, int64_t c, uint32_t seed, int64_t gap = 0) {
    Matrix m(r, c, gap);
    std::mt19937 bits(seed);
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < r; ++i) {
      for (int64_t j = 0; j < c; ++j) m.at(i, j) = normal(bits);
    }
    return m;
  }
  float& at(int64_t r, int64_t c) { return data[static_cast<size_t>(r * stride + c)]; }
  Tensor tensor() {
    Tensor t = Tensor::host(data.data(), DType::float32, {rows, stride});
    return stride == cols ? t : t.slice(1, 0, cols);
  }
  Tensor vector() { return Tensor::host(data.data(), DType::float32, {cols}); }
  bool same_bits(Matrix& other, int64_t count) {
    for (int64_t r = 0; r < count; ++r) {
      if (std::memcmp(&at(r, 0), &other.at(r, 0), static_cast<size_t>(cols) * sizeof(float))) {
        return false;
      }
    }
    return true;
  }
};

// |a - b| <= 1e-6 (|b| + the sum's size over absolute values), for sums of `terms` products of
// normal numbers.
inline void expect_near(Matrix& a, Matrix& b, int64_t terms, const char* what) {
  const double magnitude = 0.64 * static_cast<double>(terms) + 1;
  for (int64_t r = 0; r < a.rows; ++r) {
    for (int64_t c = 0; c < a.cols; ++c) {
      ASSERT_NEAR(a.at(r, c), b.at(r, c), 1e-6 * (std::abs(b.at(r, c)) + magnitude))
          << what << " (" << r << ", " << c << ")";
    }
  }
}

struct Runner {
  Executor executor;
  Scratch scratch;
  Stream stream;
  explicit Runner(std::string_view name = "cpu", int threads = 2)
      : executor(threads), scratch(threads), stream(backend(name), executor, scratch) {}

  template <class Op>
  void run(const Op& op, bool serial = false) {
    executor.run([&] {
      if (!serial) return stream.encode(op);
      Stream inner = stream.serial(0);
      inner.encode(op);
    });
  }
};

}  // namespace msltx::ops
