// Token embedding and positions; the formulas are in reference/embedding.cpp. Faster than it:
// vectors, and gradients cut into strips of 32 columns, of which one task's share of the table
// stays in its second-level cache while the tokens pass by in order. One Zen 4 core (AVX-512),
// 4,096 tokens x 384: gradients 3 to 5 times the reference (20 times with a table of 32,000 rows),
// positions 18 times; forwards copy at memory speed, like it.
#include <cstring>

#include "msltx/ops/cpu/cpu.h"
#include "msltx/ops/cpu/tasks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "msltx/ops/cpu/embedding.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "msltx/ops/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace msltx::ops::cpu::HWY_NAMESPACE {

const auto add_vectors = [](VF a, VF b) { return hn::Add(a, b); };

// out = x + y, n floats.
void add_row(float* out, const float* x, const float* y, int64_t n) {
  map(n, out, add_vectors, x, y);
}

// out = factor x, n floats.
void multiply_row(float* out, const float* x, float factor, int64_t n) {
  const VF f = hn::Set(F(), factor);
  map(n, out, [f](VF v) { return hn::Mul(f, v); }, x);
}

// table[tokens[i]] += factor x[i], rows in order, `n` columns.
void scatter_add_rows(Matrix table, const int32_t* tokens, Matrix x, int64_t rows, int64_t n,
                      float factor) {
  const VF f = hn::Set(F(), factor);
  for (int64_t r = 0; r < rows; ++r) {
    float* to = table.row(tokens[r]);
    map(n, to, [f](VF a, VF b) { return hn::MulAdd(f, b, a); }, to, x.row(r));
  }
}

}  // namespace msltx::ops::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace msltx::ops {
namespace cpu {

HWY_EXPORT(add_row);
HWY_EXPORT(multiply_row);
HWY_EXPORT(scatter_add_rows);

namespace {

void embedding_forward(Stream& stream, const EmbeddingForward& op) {
  const int64_t N = op.out.dim(0), C = op.out.dim(1);
  const Matrix weight = matrix(op.weight);
  const auto* tokens = op.tokens.data<int32_t>();
  const auto multiply = HWY_DYNAMIC_DISPATCH(multiply_row);
  for_row_blocks(stream, N, C, [&](int64_t n, int64_t rows, int) {
    const Matrix out = matrix(op.out, n);
    for (int64_t r = 0; r < rows; ++r) {
      const float* from = weight.row(tokens[n + r]);
      if (op.scale == 1) {
        std::memcpy(out.row(r), from, static_cast<size_t>(C) * sizeof(float));
      } else {
        multiply(out.row(r), from, op.scale, C);
      }
    }
  });
}

void embedding_backward(Stream& stream, const EmbeddingBackward& op) {
  constexpr int64_t kColumns = 32;  // two cache lines of each row
  const int64_t N = op.d_out.dim(0), C = op.d_out.dim(1), V = op.d_weight.dim(0);
  const auto* tokens = op.tokens.data<int32_t>();
  if (!op.accumulate) {
    for_row_blocks(stream, V, C, [&](int64_t v, int64_t rows, int) {
      const Matrix d_weight = matrix(op.d_weight, v);
      for (int64_t r = 0; r < rows; ++r) std::fill_n(d_weight.row(r), C, 0.0f);
    });
  }
  const auto run = HWY_DYNAMIC_DISPATCH(scatter_add_rows);
  stream.parallel_for(ceil_div(C, kColumns), [&](int64_t task, int) {
    const int64_t first = task * kColumns, count = std::min(kColumns, C - first);
    Matrix d_weight = matrix(op.d_weight), d_out = matrix(op.d_out);
    d_weight.data += first;
    d_out.data += first;
    run(d_weight, tokens, d_out, N, count, op.scale);
  });
}

void positional_embedding_add_forward(Stream& stream, const PositionalEmbeddingAddForward& op) {
  const int64_t T = op.x.dim(1), C = op.x.dim(2);
  const Matrix positions = matrix(op.positions);
  const auto run = HWY_DYNAMIC_DISPATCH(add_row);
  for_row_blocks(stream, op.x.dim(0) * T, C, [&](int64_t n, int64_t rows, int) {
    for (int64_t r = n; r < n + rows; ++r) {
      const int64_t b = r / T, t = r % T;
      const int64_t offset = op.offsets.defined() ? op.offsets.data<int32_t>()[b] : op.offset;
      run(op.out.data() + b * op.out.stride(0) + t * op.out.stride(1),
          op.x.data() + b * op.x.stride(0) + t * op.x.stride(1), positions.row(offset + t), C);
    }
  });
}

void positional_embedding_add_backward(Stream& stream, const PositionalEmbeddingAddBackward& op) {
  const int64_t B = op.d_out.dim(0), T = op.d_out.dim(1), C = op.d_out.dim(2);
  const Matrix d_positions = matrix(op.d_positions);
  const auto run = HWY_DYNAMIC_DISPATCH(add_row);
  for_row_blocks(stream, op.d_positions.dim(0), B * C, [&](int64_t s, int64_t rows, int) {
    for (int64_t r = s; r < s + rows; ++r) {
      float* sum = d_positions.row(r);
      if (!op.accumulate) std::memset(sum, 0, static_cast<size_t>(C) * sizeof(float));
      const int64_t t = r - op.offset;
      if (t < 0 || t >= T) continue;
      for (int64_t b = 0; b < B; ++b) {
        run(sum, sum, op.d_out.data() + b * op.d_out.stride(0) + t * op.d_out.stride(1), C);
      }
    }
  });
}

}  // namespace
}  // namespace cpu

void CpuBackend::add_embedding() {
  add<cpu::embedding_forward>();
  add<cpu::embedding_backward>();
  add<cpu::positional_embedding_add_forward>();
  add<cpu::positional_embedding_add_backward>();
}

}  // namespace msltx::ops
#endif
