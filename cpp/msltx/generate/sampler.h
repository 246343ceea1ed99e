// How the next token is chosen from logits: greedily, or drawn after temperature, top-k and top-p.
#pragma once

#include <cstdint>

#include "msltx/base/arena.h"
#include "msltx/ops/stream.h"

namespace msltx::generate {

struct SamplerOptions {
  double temperature = 1;  // 0: greedy, the most probable token
  int64_t top_k = 0;       // 0: all tokens
  double top_p = 1;        // 1: all tokens
  uint64_t seed = 0;
};

// Throws ValueError naming the option, its value and its limits.
void check(const SamplerOptions& options);

class Sampler {
 public:
  Sampler(const SamplerOptions& options, int64_t sequences, int64_t vocab_size);

  // Encodes the choice of one token per row of logits (sequences, V); the draw of a sequence
  // depends on the seed, its index and `step` alone. Read tokens() after the wait.
  void encode(ops::Stream& stream, const Tensor& logits, int64_t step);
  Tensor tokens() const { return tokens_; }  // (sequences) int32

 private:
  SamplerOptions options_;
  Arena arena_;
  Tensor tokens_, scaled_;
};

}  // namespace msltx::generate
