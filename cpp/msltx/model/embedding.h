// From tokens to the residual stream: token embeddings (through a projection where their width is
// not the model's), scaled, with learned or sinusoidal positions added, and dropout in training.
#pragma once

#include <cstdint>

#include "msltx/base/arena.h"
#include "msltx/model/dropout.h"
#include "msltx/model/linear_layer.h"
#include "msltx/model/tensor_plan.h"

namespace msltx::model {

struct EmbeddingActivations {
  Tensor narrow, d_narrow;  // (N, E), where they are projected
  void declare(TensorPlan& plan, const GPTConfig& config, Life life);
  EmbeddingActivations rows(const ops::Rows& r) const { return {cut(narrow, r), {}}; }
};

class Embedding {
 public:
  Embedding(const GPTConfig& config, Parameters& parameters);

  // x (N, C) from tokens (N); the first token of each sequence stands at offsets[b], or at 0.
  void forward(ops::Stream& stream, const EmbeddingActivations& a, const Tensor& x,
               const Tensor& tokens, const BatchPart& part, const Tensor& offsets) const;
  // Over the whole batch; d_x is overwritten where something was dropped. Where the output is tied,
  // its gradient of the table is there already.
  void backward(ops::Stream& stream, const EmbeddingActivations& a, const Tensor& d_x,
                const Tensor& tokens, const BatchPart& part, bool accumulate) const;

  // Of the table of sinusoidal positions.
  static int64_t constant_bytes(const GPTConfig& config);

 private:
  Parameter *tokens_ = nullptr, *positions_ = nullptr;
  LinearLayer project_;
  bool projected_, tied_;
  float scale_;
  Dropout dropout_;
  Arena constants_;
  Tensor sinusoids_;  // (context_length, C)
};

}  // namespace msltx::model
