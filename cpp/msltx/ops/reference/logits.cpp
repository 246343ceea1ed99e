// Soft cap and repetition penalty over logits (N, V).
//
//   softcap:  out = cap tanh(logits / cap),  d_logits = d_out (1 - (out / cap)^2)
//   penalty:  out = logits / penalty where above 0, else logits penalty, for the row's tokens
//
// The backward overwrites.
#include <algorithm>
#include <cmath>

#include "msltx/ops/reference/loops.h"
#include "msltx/ops/reference/reference.h"
#include "msltx/ops/reference/softcap.h"
#include "msltx/ops/stream.h"

namespace msltx::ops {
namespace {

void softcap_logits(Stream& stream, const SoftcapLogits& op) {
  stream.parallel_for(op.logits.dim(0), [&](int64_t n, int) {
    for (int64_t v = 0; v < op.logits.dim(1); ++v) {
      row(op.out, n)[v] = softcapped(row(op.logits, n)[v], op.cap);
    }
  });
}

void softcap_logits_backward(Stream& stream, const SoftcapLogitsBackward& op) {
  stream.parallel_for(op.d_out.dim(0), [&](int64_t n, int) {
    for (int64_t v = 0; v < op.d_out.dim(1); ++v) {
      const double slope = softcap_slope(row(op.forward_out, n)[v], op.cap);
      row(op.d_logits, n)[v] = static_cast<float>(row(op.d_out, n)[v] * slope);
    }
  });
}

ScratchNeed repetition_penalty_scratch(const RepetitionPenalty& op) {
  return {.per_worker = op.logits.dim(1)};
}

void repetition_penalty(Stream& stream, const RepetitionPenalty& op) {
  const int64_t V = op.logits.dim(1);
  stream.parallel_for(op.logits.dim(0), [&](int64_t n, int worker) {
    std::byte* seen = stream.worker_scratch(worker);
    std::fill_n(seen, V, std::byte{0});
    const auto* tokens = op.tokens.data<int32_t>() + n * op.tokens.stride(0);
    for (int64_t i = 0; i < op.tokens.dim(1); ++i) {
      if (tokens[i] != op.ignore_index) seen[tokens[i]] = std::byte{1};
    }
    for (int64_t v = 0; v < V; ++v) {
      const float logit = row(op.logits, n)[v];
      const float penalized = logit > 0 ? logit / op.penalty : logit * op.penalty;
      row(op.out, n)[v] = seen[v] == std::byte{1} ? penalized : logit;
    }
  });
}

}  // namespace

void ReferenceBackend::add_logits() {
  add<softcap_logits>();
  add<softcap_logits_backward>();
  add<repetition_penalty, repetition_penalty_scratch>();
}

}  // namespace msltx::ops
