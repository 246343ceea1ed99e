// Who sees whom in attention: what a query sees is always one range of keys. Shared by the
// backends.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "msltx/base/tensor.h"

namespace msltx::ops {

struct KeyRange {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};

// The range of [0, S) that a query standing at `place` sees. Window w: from place - w + 1 on, and
// where not causal up to place + w - 1.
inline KeyRange seen_from(int64_t place, int64_t S, bool causal, int64_t window) {
  KeyRange keys{0, causal ? std::clamp<int64_t>(place + 1, 0, S) : S};
  if (window > 0) {
    window = std::min(window, S + std::abs(place));  // as good as any larger one, no overflow
    keys.begin = std::clamp<int64_t>(place - window + 1, 0, S);
    if (!causal) keys.end = std::clamp<int64_t>(place + window, 0, S);
  }
  return {std::min(keys.begin, keys.end), keys.end};
}

// Of T queries against S keys; query t stands at place t + S - T.
struct AttentionMask {
  bool causal = true;
  int64_t window = 0, T = 0, S = 0;
  Tensor document_starts{};  // (B, T), may be absent

  int64_t place(int64_t t) const { return t + S - T; }
  KeyRange keys(int64_t b, int64_t t) const {
    KeyRange seen = seen_from(place(t), S, causal, window);
    if (document_starts.defined()) {
      const int64_t start = document_starts.data<int32_t>()[b * document_starts.stride(0) + t];
      seen.begin = std::clamp(start, seen.begin, seen.end);
    }
    return seen;
  }
};

// The mask of an op with all options.
template <class Op>
AttentionMask mask_of(const Op& op, int64_t T, int64_t S) {
  return {op.causal, op.window, T, S, op.document_starts};
}

// The mask of relative_attention_scores, causal always.
template <class Op>
AttentionMask relative_mask(const Op& op) {
  return {true, op.window, op.q.dim(2), op.k.dim(2), op.document_starts};
}

}  // namespace msltx::ops
