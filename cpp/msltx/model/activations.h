// Activations: every tensor of a training step beside parameters and gradients, from one declared
// table (memory_plan.h) of name, shape and life. Sections of a step, in order: the forward of the
// trunk, the head with the loss, then the backward of each block from the last to the first, then
// of the embeddings.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "msltx/model/config.h"
#include "msltx/model/embedding.h"
#include "msltx/model/feed_forward.h"
#include "msltx/model/head.h"
#include "msltx/model/placement.h"
#include "msltx/model/self_attention.h"
#include "msltx/model/tensor_plan.h"
#include "msltx/ops/chunks.h"

namespace msltx::model {

// One block's tensors: of its two layers, and of how they join the residual stream.
struct BlockActivations {
  PlacementActivations attention_join, feed_forward_join;
  AttentionActivations attention;
  FeedForwardActivations feed_forward;
  BlockActivations rows(const ops::Rows& r) const;
};

// Gradients of activations, shared by all blocks: a block's backward leaves what its weights'
// backward reads, and the next block overwrites it.
struct BlockGradients {
  PlacementGradients attention_join, feed_forward_join;
  AttentionGradients attention;
  FeedForwardGradients feed_forward;
  // What the block gave and what it took.
  const Tensor& d_output() const { return feed_forward_join.d_y; }
  const Tensor& d_input() const { return attention_join.d_x; }
  BlockGradients rows(const ops::Rows& r) const;
};

class Activations {
 public:
  // Declares and lays out; plan().bytes() is what allocate() will reserve.
  Activations(const GPTConfig& config, BatchShape shape, Keep keep, DType compute);
  void allocate();

  const BatchShape& shape() const { return shape_; }
  Keep keep() const { return keep_; }
  const ops::Chunking& chunking() const { return chunking_; }
  const MemoryPlan& plan() const { return plan_.memory(); }
  Activations(const Activations&) = delete;
  Activations& operator=(const Activations&) = delete;

  int forward_section() const { return 0; }
  int head_section() const { return 1; }
  int block_section(int64_t layer) const { return static_cast<int>(1 + num_layers_ - layer); }
  int embedding_section() const { return static_cast<int>(2 + num_layers_); }

  Tensor tokens, targets;  // (N) int32
  Tensor document_starts;  // (B, T) int32, read where a pass stays inside documents
  Tensor embedded;         // (N, C)
  EmbeddingActivations embedding;
  HeadActivations head;
  std::vector<BlockActivations> blocks;
  NormActivations final_norm;
  // (nh, T, T), with positions relative_t5: what the distances add to the scores, its gradient.
  Tensor relative_bias, d_relative_bias;
  Tensor hidden;    // (N, C): what the head reads
  Tensor d_hidden;  // (N, C)
  // Of one layer. The gradients of its output and its input change places from layer to layer.
  BlockGradients gradients(int64_t layer) const;
  // The residual stream that enters a layer, where the layer below leaves no branch to add.
  const Tensor& stream_into(int64_t layer) const;

 private:
  void declare_forward(const GPTConfig& config);
  void declare_positions(const GPTConfig& config);
  void declare_block(const GPTConfig& config, int64_t layer);
  void declare_backward(const GPTConfig& config);

  BatchShape shape_;
  Keep keep_;
  int64_t num_layers_;
  ops::Chunking chunking_;
  TensorPlan plan_;
  std::vector<Tensor> distances_;   // of each layer, with positions relative_xl
  std::array<Tensor, 2> d_stream_;  // (N, C) each, as are the next two
  Tensor d_middle_, d_branch_;
  std::array<Tensor, 2> d_out_;  // (N, C), of what attention and feed-forward gave
  BlockGradients shared_gradients_;
};

}  // namespace msltx::model
