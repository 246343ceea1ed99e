// Token embedding, out[n] = scale weight[tokens[n]], and positions added to it,
// out[b, t] = x[b, t] + positions[offset_b + t].
//
//   d_weight[v] = sum of scale d_out[n] over the rows with tokens[n] = v
//   d_positions[offset + t] = sum over b of d_out[b, t]
//
// Both backwards accumulate where asked and overwrite otherwise. x (B, T, C), out (N, C).
#include <algorithm>

#include "msltx/ops/reference/loops.h"
#include "msltx/ops/reference/reference.h"
#include "msltx/ops/stream.h"

namespace msltx::ops {
namespace {

void embedding_forward(Stream& stream, const EmbeddingForward& op) {
  const int64_t N = op.out.dim(0), C = op.out.dim(1);
  stream.parallel_for(N, [&](int64_t n, int) {
    const float* weight = row(op.weight, op.tokens.data<int32_t>()[n]);
    float* out = row(op.out, n);
    for (int64_t c = 0; c < C; ++c) out[c] = op.scale * weight[c];
  });
}

// Cut by columns, so that a token which occurs often belongs to one task in each of them.
void embedding_backward(Stream& stream, const EmbeddingBackward& op) {
  constexpr int64_t kColumns = 16;  // a cache line
  const int64_t N = op.d_out.dim(0), C = op.d_out.dim(1), V = op.d_weight.dim(0);
  stream.parallel_for((C + kColumns - 1) / kColumns, [&](int64_t task, int) {
    const int64_t first = task * kColumns, count = std::min(kColumns, C - first);
    for (int64_t v = 0; v < V && !op.accumulate; ++v) {
      std::fill_n(row(op.d_weight, v) + first, count, 0.0f);
    }
    for (int64_t n = 0; n < N; ++n) {
      float* d_weight = row(op.d_weight, op.tokens.data<int32_t>()[n]) + first;
      const float* d_out = row(op.d_out, n) + first;
      for (int64_t c = 0; c < count; ++c) d_weight[c] += op.scale * d_out[c];
    }
  });
}

void positional_embedding_add_forward(Stream& stream, const PositionalEmbeddingAddForward& op) {
  const int64_t B = op.x.dim(0), T = op.x.dim(1), C = op.x.dim(2);
  stream.parallel_for(B * T, [&](int64_t task, int) {
    const int64_t b = task / T, t = task % T;
    const int64_t offset = op.offsets.defined() ? op.offsets.data<int32_t>()[b] : op.offset;
    const float* x = row(op.x, b, t);
    const float* position = row(op.positions, offset + t);
    float* out = row(op.out, b, t);
    for (int64_t c = 0; c < C; ++c) out[c] = x[c] + position[c];
  });
}

void positional_embedding_add_backward(Stream& stream, const PositionalEmbeddingAddBackward& op) {
  const int64_t B = op.d_out.dim(0), T = op.d_out.dim(1), C = op.d_out.dim(2);
  stream.parallel_for(op.d_positions.dim(0), [&](int64_t s, int) {
    float* d_position = row(op.d_positions, s);
    const int64_t t = s - op.offset;
    const bool stood_at = 0 <= t && t < T;
    for (int64_t c = 0; c < C; ++c) {
      double sum = op.accumulate ? d_position[c] : 0.0f;
      for (int64_t b = 0; b < B && stood_at; ++b) sum += row(op.d_out, b, t)[c];
      d_position[c] = static_cast<float>(sum);
    }
  });
}

}  // namespace

void ReferenceBackend::add_embedding() {
  add<embedding_forward>();
  add<embedding_backward>();
  add<positional_embedding_add_forward>();
  add<positional_embedding_add_backward>();
}

}  // namespace msltx::ops
