#include "msltx/model/block.h"

#include <string>

#include "msltx/base/error.h"

namespace msltx::model {
namespace {

using ops::Stream;

std::string name_of(int64_t layer, const char* part) { return concat("blocks.", layer, ".", part); }

}  // namespace

Block::Block(const GPTConfig& config, Parameters& parameters, int64_t layer,
             const PositionTables& tables)
    : attention_join_(config, parameters, name_of(layer, "norm1")),
      feed_forward_join_(config, parameters, name_of(layer, "norm2")),
      attention_(config, parameters, name_of(layer, "attn"), layer, tables),
      feed_forward_(config, parameters, name_of(layer, "ff")) {}

Residual Block::forward(Stream& stream, const BlockActivations& a, Residual input,
                        const BatchPart& part, const LayerCache* cache) const {
  const Tensor x = attention_join_.enter(stream, a.attention_join, input);
  attention_.forward(stream, a.attention, attention_join_.output(a.attention_join), x, part, cache);
  Residual middle = attention_join_.leave(stream, a.attention_join, input, part);
  const Tensor y = feed_forward_join_.enter(stream, a.feed_forward_join, middle);
  feed_forward_.forward(stream, a.feed_forward, feed_forward_join_.output(a.feed_forward_join), y);
  return feed_forward_join_.leave(stream, a.feed_forward_join, middle, part);
}

void Block::backward_data(Stream& stream, const BlockActivations& a, const BlockGradients& g,
                          const BatchPart& part, int64_t chunk_rows) const {
  const PlacementGradients &second = g.feed_forward_join, &first = g.attention_join;
  feed_forward_join_.leave_backward(stream, a.feed_forward_join, second, part, chunk_rows);
  feed_forward_.backward_data(stream, a.feed_forward, g.feed_forward, second.d_in, second.d_out,
                              chunk_rows);
  feed_forward_join_.enter_backward(stream, a.feed_forward_join, second, chunk_rows);
  attention_join_.leave_backward(stream, a.attention_join, first, part, chunk_rows);
  attention_.backward_data(stream, a.attention, g.attention, first.d_in, first.d_out, part,
                           chunk_rows);
  attention_join_.enter_backward(stream, a.attention_join, first, chunk_rows);
}

void Block::backward_weights(Stream& stream, const BlockActivations& a, const BlockGradients& g,
                             const Tensor& input, const BatchPart& part, bool accumulate) const {
  // Placed post, what the feed-forward layer reads is what left the attention.
  const Tensor& middle = a.attention_join.after.out;
  const Tensor x = attention_join_.entered(a.attention_join, input);
  const Tensor y = feed_forward_join_.entered(a.feed_forward_join, middle);
  feed_forward_.backward_weights(stream, a.feed_forward, g.feed_forward, y,
                                 g.feed_forward_join.d_out, accumulate);
  attention_.backward_weights(stream, a.attention, g.attention, x, g.attention_join.d_out, part,
                              accumulate);
  feed_forward_join_.backward_weights(stream, a.feed_forward_join, accumulate);
  attention_join_.backward_weights(stream, a.attention_join, accumulate);
}

}  // namespace msltx::model
