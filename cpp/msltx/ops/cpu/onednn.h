// Matrix products of float32 and bfloat16 through oneDNN, on the calling thread alone: primitives
// and their memory objects are made on the thread that runs them, kept by shape, and OpenMP is held
// to one thread meanwhile. Scratch comes from the caller: a primitive shared by threads, or one
// that brings its own, gives wrong results or allocates.
//
// A weight is packed into panels of 64 output columns, [panels][round_up(inner, 16)][64], padded
// with zeros. That is oneDNN's own BA16a64b, so its AVX-512 kernel reads it as it is; where oneDNN
// has no such kernel, the same panels are plain matrices for its sgemm. In bfloat16 the inner
// dimension is padded to 32 and goes by pairs, [panels][round_up(inner, 32) / 2][64][2], oneDNN's
// BA16a64b2a; products of bfloat16 add up in float32. A range of whole panels is the packed form of
// those columns. A row of a product has the same bits for any number of rows and
// for any range of columns it is computed with (a test).
//
// 2 workers, AMD Zen 4: 220-231 GFLOP/s of a peak of 226 with tiles of 128-256 rows, in bfloat16
// 445-464 of 454.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "msltx/base/dtype.h"

namespace msltx::ops::cpu {

inline constexpr int64_t kPanel = 64;  // output columns of a panel: four 512-bit registers
// The inner dimension is padded to it.
template <class E>
inline constexpr int64_t kInnerBlock = 16;
template <>
inline constexpr int64_t kInnerBlock<bfloat16> = 32;

constexpr int64_t panels(int64_t outer) { return (outer + kPanel - 1) / kPanel; }
// Elements between two panels.
template <class E>
constexpr int64_t panel_stride(int64_t inner) {
  return (inner + kInnerBlock<E> - 1) / kInnerBlock<E> * kInnerBlock<E> * kPanel;
}
template <class E>
constexpr int64_t packed_size(int64_t inner, int64_t outer) {  // in elements
  return panels(outer) * panel_stride<E>(inner);
}

// y (rows, outer) = x (rows, inner) * w (inner, outer) [+ bias (outer)] [+ y]; rows lie close
// together. x and w are of type `from`, y of type `to`, which is float32 where `from` is; the bias
// is float32.
struct Product {
  int64_t rows, inner, outer;
  bool bias = false;
  bool accumulate = false;
  DType from = DType::float32, to = DType::float32;
  bool operator==(const Product&) const = default;
};

// Whether this machine has products of bfloat16 (AVX512_BF16 or AMX).
bool has_bfloat16_products();

int64_t product_scratch(int64_t inner);  // in bytes
void run(const Product& product, void* y, const void* x, const void* packed, const float* bias,
         std::byte* scratch);
// What oneDNN calls the kernel behind it.
std::string implementation(const Product& product);

// c (m, n) = a^T b, or += where `accumulate` is set; a is (rows, m) and b (rows, n), with row
// strides lda, ldb and ldc.
void run_transposed(float* c, int64_t ldc, const float* a, int64_t lda, const float* b, int64_t ldb,
                    int64_t m, int64_t n, int64_t rows, bool accumulate);
void run_transposed(float* c, int64_t ldc, const bfloat16* a, int64_t lda, const bfloat16* b,
                    int64_t ldb, int64_t m, int64_t n, int64_t rows, bool accumulate);

}  // namespace msltx::ops::cpu
