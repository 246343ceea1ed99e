// Soft cap and repetition penalty; the formulas are in reference/logits.cpp. Faster than it: a
// vector hyperbolic tangent; of the penalized row only the tokens are visited.
#include <algorithm>
#include <cstring>

#include "msltx/ops/cpu/cpu.h"
#include "msltx/ops/cpu/rows.h"
#include "msltx/ops/cpu/tasks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "msltx/ops/cpu/logits.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "msltx/ops/cpu/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace msltx::ops::cpu::HWY_NAMESPACE {

void softcap_backward_row(float* d_x, const float* d_out, const float* out, int64_t n, float cap) {
  const auto through = [&](VF d, VF y) HWY_ATTR { return hn::Mul(d, softcap_slope(y, cap)); };
  map(n, d_x, through, d_out, out);
}

}  // namespace msltx::ops::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msltx::ops {
namespace cpu {

HWY_EXPORT(softcap_backward_row);

namespace {

void softcap_logits(Stream& stream, const SoftcapLogits& op) {
  const int64_t V = op.logits.dim(1);
  const Matrix out = matrix(op.out), logits = matrix(op.logits);
  for_row_blocks(stream, op.logits.dim(0), V, [&](int64_t first, int64_t rows, int) {
    for (int64_t n = first; n < first + rows; ++n) {
      softcap_row(out.row(n), logits.row(n), V, op.cap);
    }
  });
}

void softcap_logits_backward(Stream& stream, const SoftcapLogitsBackward& op) {
  const int64_t V = op.d_out.dim(1);
  const Matrix d_logits = matrix(op.d_logits), d_out = matrix(op.d_out),
               out = matrix(op.forward_out);
  const auto run = HWY_DYNAMIC_DISPATCH(softcap_backward_row);
  for_row_blocks(stream, op.d_out.dim(0), V, [&](int64_t first, int64_t rows, int) {
    for (int64_t n = first; n < first + rows; ++n) {
      run(d_logits.row(n), d_out.row(n), out.row(n), V, op.cap);
    }
  });
}

ScratchNeed repetition_penalty_scratch(const RepetitionPenalty& op) {
  return {.per_worker = op.logits.dim(1)};
}

void repetition_penalty(Stream& stream, const RepetitionPenalty& op) {
  const int64_t V = op.logits.dim(1), M = op.tokens.dim(1);
  stream.parallel_for(op.logits.dim(0), [&](int64_t n, int worker) {
    const float* logits = matrix(op.logits).row(n);
    float* out = matrix(op.out).row(n);
    if (out != logits) std::memcpy(out, logits, static_cast<size_t>(V) * sizeof(float));
    std::byte* seen = stream.worker_scratch(worker);
    const auto* tokens = op.tokens.data<int32_t>() + n * op.tokens.stride(0);
    std::fill_n(seen, V, std::byte{0});
    for (int64_t i = 0; i < M; ++i) {
      const int64_t token = tokens[i];
      if (token == op.ignore_index || seen[token] == std::byte{1}) continue;
      seen[token] = std::byte{1};
      out[token] = out[token] > 0 ? out[token] / op.penalty : out[token] * op.penalty;
    }
  });
}

}  // namespace
}  // namespace cpu

void CpuBackend::add_logits() {
  add<cpu::softcap_logits>();
  add<cpu::softcap_logits_backward>();
  add<cpu::repetition_penalty, cpu::repetition_penalty_scratch>();
}

}  // namespace msltx::ops
#endif
