// Activations: every tensor of a training step beside parameters and gradients, from one declared
// table (memory_plan.h) of name, shape and life. Sections of a step, in order: the forward of the
// trunk, the head with the loss, then the backward of each block from the last to the first, then
// of the embeddings.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "msltx/model/config.h"
#include "msltx/model/memory_plan.h"
#include "msltx/ops/chunks.h"

namespace msltx::model {

struct BatchShape {
  int64_t sequences = 0;  // B
  int64_t length = 0;     // T
  bool operator==(const BatchShape&) const = default;
  int64_t rows() const { return sequences * length; }
};

// What training keeps for the backward and what inference does without.
enum class Keep : uint8_t { for_backward, nothing };

// One block's tensors; N rows of the batch. norm1 and norm2 keep what they normalized (the sum of
// the residual stream and a branch), their result and their statistics.
struct NormActivations {
  Tensor sum, out, mean, rstd;  // (N, C), (N, C), (N), (N)
  Tensor d_gamma, d_beta;       // partial sums (chunks, C)
  NormActivations rows(const ops::Rows& r) const;
};

struct BlockActivations {
  NormActivations norm1, norm2;
  Tensor qkv;                    // (N, 3C)
  Tensor mix, lse;               // (N, C), (B, nh, T)
  Tensor pre, act;               // (N, F)
  Tensor attention_out, ff_out;  // (N, C), dead once the next norm has taken them in
  Tensor d_qkv_bias, d_out_bias, d_in_bias, d_ff_bias;  // partial sums (chunks, ...)
  BlockActivations rows(const ops::Rows& r) const;
};

// Gradients of activations, shared by all blocks: a block's backward leaves what its weights'
// backward reads, and the next block overwrites it. d_output and d_input change places from block
// to block.
struct BlockGradients {
  Tensor d_output, d_input;  // (N, C), of what the block gave and of what it took
  Tensor d_norm2_sum;        // (N, C)
  Tensor d_norm1_sum;        // (N, C); with pre-normalization it is d_input
  Tensor d_branch;           // (N, C)
  Tensor d_qkv;              // (N, 3C)
  Tensor d_act;              // (N, F), then d_pre in place
  BlockGradients rows(const ops::Rows& r) const;
};

class Activations {
 public:
  // Declares and lays out; plan().bytes() is what allocate() will reserve.
  Activations(const GPTConfig& config, BatchShape shape, Keep keep);
  void allocate();

  const BatchShape& shape() const { return shape_; }
  Keep keep() const { return keep_; }
  const ops::Chunking& chunking() const { return chunking_; }
  const MemoryPlan& plan() const { return plan_; }
  Activations(const Activations&) = delete;
  Activations& operator=(const Activations&) = delete;

  int forward_section() const { return 0; }
  int head_section() const { return 1; }
  int block_section(int64_t layer) const { return static_cast<int>(1 + num_layers_ - layer); }
  int embedding_section() const { return static_cast<int>(2 + num_layers_); }

  Tensor tokens, targets;  // (N) int32
  Tensor embedded;         // (N, C)
  std::vector<BlockActivations> blocks;
  NormActivations final_norm;
  Tensor hidden;    // (N, C): what the head reads
  Tensor d_hidden;  // (N, C)
  BlockGradients gradients(int64_t layer) const;
  Tensor d_embedded;  // (N, C), what the backward of block 0 leaves

 private:
  // Declares a tensor and remembers whose view it becomes.
  void add(Tensor& tensor, std::string name, DType dtype, std::initializer_list<int64_t> shape,
           int born, int dies);
  void declare_forward(const GPTConfig& config);
  void declare_norm(NormActivations& norm, const std::string& name, int dies, bool sum_is_given);
  void declare_block(const GPTConfig& config, BlockActivations& block, const std::string& name,
                     int dies);
  void declare_backward(const GPTConfig& config);

  BatchShape shape_;
  Keep keep_;
  int64_t num_layers_;
  ops::Chunking chunking_;
  MemoryPlan plan_;
  std::vector<std::pair<Tensor*, size_t>> bound_;  // views to be given their places
  std::array<Tensor, 2> d_stream_;
  BlockGradients shared_gradients_;
  int64_t embedding_dim_;
};

}  // namespace msltx::model
