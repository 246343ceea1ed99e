// The core of an attention layer: from queries, keys and values to their mix. It runs fused, or in
// parts (scores, softmax, mix) that keep the probabilities; against a key/value cache as the kernel
// for that does. The scores of positions relative_xl are there in parts only.
#pragma once

#include <cstdint>
#include <string>

#include "msltx/model/dropout.h"
#include "msltx/model/linear_layer.h"
#include "msltx/model/position_tables.h"
#include "msltx/model/tensor_plan.h"

namespace msltx::model {

// Heads as views (B, heads, T, hs).
struct Heads {
  Tensor q, k, v;
};

// Keys and values of one layer for tokens fed before, and where the new ones stand.
struct LayerCache {
  Tensor k, v;                // (sequences, nkv, capacity, hs)
  Tensor positions, lengths;  // (sequences) int32: before and after the new tokens
  Tensor relative_bias;       // (nh, capacity), with positions relative_t5
  // With positions relative_xl, where all sequences have the same length: (capacity, nh hs), room
  // for scores (sequences, nh, new tokens, length), and the length after the new tokens.
  Tensor distances, scores;
  int64_t length = 0;
};

struct CoreActivations {
  Tensor lse;            // (B, nh, T), fused
  Tensor probabilities;  // (B, nh, T, T), in parts
  Tensor bias;           // (nh, T, T), relative_t5: one for all blocks
  Tensor distances;      // (T, nh hs), relative_xl: the encodings of distances times a matrix

  void declare(TensorPlan& plan, const GPTConfig& config, const std::string& name, Life life);
  CoreActivations rows(const ops::Rows& r) const;
};

struct CoreGradients {
  Tensor d_scores;     // (B, nh, T, T), in parts
  Tensor d_bias;       // (nh, T, T), relative_t5: the blocks add to it, the last one first
  Tensor d_distances;  // (T, nh hs), relative_xl

  void declare(TensorPlan& plan, const GPTConfig& config, Life life);
  CoreGradients rows(const ops::Rows& r) const;
};

class AttentionCore {
 public:
  // Of the block `layer`, which a pattern of windows goes by.
  AttentionCore(const GPTConfig& config, Parameters& parameters, const std::string& name,
                int64_t layer, const PositionTables& tables);

  // Whether sequences of a length run in parts.
  static bool in_parts(const GPTConfig& config, int64_t length);
  // Whether backward_weights reads the gradient of the mix.
  static bool keeps_d_mix(const GPTConfig& config, int64_t length) {
    return config.positions.has(Position::relative_t5) && !in_parts(config, length);
  }

  // relative_xl: `out` (S, nh hs) for the distances 0 ... S - 1; else nothing.
  void encode_distances(ops::Stream& stream, const Tensor& out) const;

  // mix (B, nh, T, hs) over whole sequences.
  void forward(ops::Stream& stream, const CoreActivations& a, const Tensor& mix, const Heads& x,
               const BatchPart& part) const;
  void forward_cached(ops::Stream& stream, const Tensor& mix, const Heads& x,
                      const LayerCache& cache) const;
  // From the gradient of the mix to d.
  void backward_data(ops::Stream& stream, const CoreActivations& a, const CoreGradients& g,
                     const Heads& d, const Tensor& d_mix, const Tensor& mix, const Heads& x,
                     const BatchPart& part) const;
  // Over the whole batch. `d_mix` is read where keeps_d_mix().
  void backward_weights(ops::Stream& stream, const CoreActivations& a, const CoreGradients& g,
                        const Tensor& d_mix, const Tensor& mix, const Heads& x,
                        const BatchPart& part, bool accumulate) const;

 private:
  // `op` with what it has of the rules by which scores are made and masked ...
  template <class Op>
  Op scored(Op op, const Tensor& document_starts) const;
  // ... and with the draw by which probabilities are dropped.
  template <class Op>
  Op dropped(Op op, const Draw& draw) const;
  // scores (B, nh, T, S) into probabilities in place, and the mix.
  void mix_scores(ops::Stream& stream, const Tensor& scores, const Tensor& mix, const Tensor& v,
                  const BatchPart& part) const;
  void scores_forward(ops::Stream& stream, const Tensor& scores, const Heads& x,
                      const Tensor& distances, const Tensor& bias,
                      const Tensor& document_starts) const;
  bool is_relative() const { return content_bias_ != nullptr; }
  Tensor by_head(const Tensor& distances) const;  // (nh, S, hs) of (S, nh hs)

  int64_t num_heads_, head_dim_;
  float scale_, softcap_;
  int64_t window_;  // 0: none
  bool last_;       // of the blocks: the first in the backward
  Tensor alibi_slopes_;
  Dropout dropout_;
  // Of relative_xl.
  Tensor encodings_;  // (context_length, C)
  LinearLayer relative_;
  Parameter *content_bias_, *position_bias_;  // (nh, hs)
};

}  // namespace msltx::model
