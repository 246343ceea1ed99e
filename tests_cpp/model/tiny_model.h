// A small model and random batches for tests.
#pragma once

#include <vector>

#include "msltx/base/philox.h"
#include "msltx/model/gpt.h"

namespace msltx::model {

inline GPTConfig tiny_config() {
  GPTConfig config;
  config.vocab_size = 61;
  config.context_length = 16;
  config.embedding_dim = 24;
  config.num_layers = 3;
  config.num_heads = 3;
  return config;
}

struct RandomBatch {
  BatchShape shape;
  std::vector<int32_t> tokens, targets;

  RandomBatch(BatchShape s, int64_t vocab_size, uint64_t seed = 1) : shape(s) {
    for (int64_t i = 0; i < s.rows(); ++i) {
      const auto words = philox(seed, RandomStream::batches, 0, 0, static_cast<uint32_t>(i));
      tokens.push_back(static_cast<int32_t>(words[0] % static_cast<uint32_t>(vocab_size)));
      targets.push_back(static_cast<int32_t>(words[1] % static_cast<uint32_t>(vocab_size)));
    }
  }
};

inline std::vector<float> copy_of(const Tensor& t) { return {t.data(), t.data() + t.size()}; }

}  // namespace msltx::model
