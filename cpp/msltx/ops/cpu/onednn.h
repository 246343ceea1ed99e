// Matrix products of float32 through oneDNN, on the calling thread alone: primitives and their
// memory objects are made on the thread that runs them, kept by shape, and OpenMP is held to one
// thread meanwhile. Scratch comes from the caller: a primitive shared by threads, or one that
// brings its own, gives wrong results or allocates.
//
// A weight is packed into panels of 64 output columns, [panels][round_up(inner, 16)][64], padded
// with zeros. That is oneDNN's own BA16a64b, so its AVX-512 kernel reads it as it is; where oneDNN
// has no such kernel, the same panels are plain matrices for its sgemm. A range of whole panels is
// the packed form of those columns. A row of a product has the same bits for any number of rows and
// for any range of columns it is computed with (a test).
//
// 2 workers, AMD Zen 4: 220-231 GFLOP/s of a peak of 226 with tiles of 128-256 rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace msltx::ops::cpu {

inline constexpr int64_t kPanel = 64;       // output columns of a panel: four 512-bit registers
inline constexpr int64_t kInnerBlock = 16;  // the inner dimension is padded to it

constexpr int64_t panels(int64_t outer) { return (outer + kPanel - 1) / kPanel; }
// Elements between two panels.
constexpr int64_t panel_stride(int64_t inner) {
  return (inner + kInnerBlock - 1) / kInnerBlock * kInnerBlock * kPanel;
}
constexpr int64_t packed_size(int64_t inner, int64_t outer) {  // in elements
  return panels(outer) * panel_stride(inner);
}

// y (rows, outer) = x (rows, inner) * w (inner, outer) [+ bias (outer)] [+ y]; rows lie close
// together.
struct Product {
  int64_t rows, inner, outer;
  bool bias = false;
  bool accumulate = false;
  bool operator==(const Product&) const = default;
};

int64_t product_scratch(int64_t inner);  // in bytes
void run(const Product& product, float* y, const float* x, const float* packed, const float* bias,
         std::byte* scratch);
// What oneDNN calls the kernel behind it.
std::string implementation(const Product& product);

// c (m, n) = a^T b, or += where `accumulate` is set; a is (rows, m) and b (rows, n), with row
// strides lda, ldb and ldc.
void run_transposed(float* c, int64_t ldc, const float* a, int64_t lda, const float* b, int64_t ldb,
                    int64_t m, int64_t n, int64_t rows, bool accumulate);

}  // namespace msltx::ops::cpu
