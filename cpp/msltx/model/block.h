// One Transformer block: attention and feed-forward, each a branch of the residual stream that
// placement.h joins to it.
#pragma once

#include <cstdint>

#include "msltx/model/activations.h"
#include "msltx/model/config.h"
#include "msltx/model/feed_forward.h"
#include "msltx/model/parameters.h"
#include "msltx/model/placement.h"
#include "msltx/model/self_attention.h"
#include "msltx/ops/stream.h"

namespace msltx::model {

class Block {
 public:
  Block(const GPTConfig& config, Parameters& parameters, int64_t layer,
        const PositionTables& tables);

  // The rows are of whole sequences; with a cache, of the new tokens of as many.
  Residual forward(ops::Stream& stream, const BlockActivations& a, Residual input,
                   const BatchPart& part, const LayerCache* cache = nullptr) const;
  // From g.feed_forward_join.d_y to g.attention_join.d_x, with the partial sums that
  // backward_weights adds up.
  void backward_data(ops::Stream& stream, const BlockActivations& a, const BlockGradients& g,
                     const BatchPart& part, int64_t chunk_rows) const;
  // Over the whole batch; `input` is the stream that forward() got. Writes the weights' gradients,
  // or adds to them.
  void backward_weights(ops::Stream& stream, const BlockActivations& a, const BlockGradients& g,
                        const Tensor& input, const BatchPart& part, bool accumulate) const;
  // As AttentionCore's.
  void encode_distances(ops::Stream& stream, const Tensor& out) const {
    attention_.encode_distances(stream, out);
  }

 private:
  Placement attention_join_, feed_forward_join_;
  SelfAttention attention_;
  FeedForward feed_forward_;
};

}  // namespace msltx::model
