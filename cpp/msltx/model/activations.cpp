#include "msltx/model/activations.h"

#include "msltx/base/error.h"

namespace msltx::model {
namespace {

using ops::Rows;

// About this many rows a chunk: enough for full-speed matrix products, few enough for a chunk's
// activations to stay in a 1 MiB L2 cache (narrow models: half, so that chunks are many).
constexpr int64_t kChunkRows = 256;
constexpr int64_t kNarrowChunkRows = 128;
constexpr int64_t kNarrow = 128;

int64_t target_rows(const GPTConfig& config) {
  return config.embedding_dim <= kNarrow ? kNarrowChunkRows : kChunkRows;
}

}  // namespace

BlockActivations BlockActivations::rows(const Rows& r) const {
  return {attention_join.rows(r), feed_forward_join.rows(r), attention.rows(r),
          feed_forward.rows(r)};
}

BlockGradients BlockGradients::rows(const Rows& r) const {
  return {attention_join.rows(r), feed_forward_join.rows(r), attention.rows(r),
          feed_forward.rows(r)};
}

Activations::Activations(const GPTConfig& config, BatchShape shape, Keep keep, DType compute)
    : shape_(shape),
      keep_(keep),
      num_layers_(config.num_layers),
      chunking_(ops::Chunking::of(shape.sequences, shape.length, target_rows(config))),
      plan_(shape, chunking_.chunks(), keep, compute) {
  declare_forward(config);
  if (keep == Keep::for_backward) declare_backward(config);
  plan_.lay_out();
}

void Activations::allocate() {
  plan_.allocate();
  blocks.front().attention.core.bias = relative_bias;
  shared_gradients_.attention.core.d_bias = d_relative_bias;
  const BlockActivations& first = blocks.front();
  for (BlockActivations& block : blocks) {
    block.attention.core.bias = first.attention.core.bias;
    block.attention_join.branch = first.attention_join.branch;
    block.feed_forward_join.branch = first.feed_forward_join.branch;
    if (keep_ == Keep::nothing) block = first;
  }
  for (size_t i = 0; i < distances_.size(); ++i) {
    blocks[i].attention.core.distances = distances_[i];
  }
  NormActivations& norm = blocks.front().attention_join.before;
  if (norm.out.defined() && !norm.in.defined()) norm.in = embedded;
  hidden = final_norm.out.defined() ? final_norm.out : blocks.back().feed_forward_join.after.out;
}

BlockGradients Activations::gradients(int64_t layer) const {
  const auto flip = static_cast<size_t>((num_layers_ - 1 - layer) % 2);
  // Placed post, the stream between the layers has no other path than through them; only dropout
  // then needs it beside what they read.
  const Tensor& middle = d_middle_.defined() ? d_middle_ : d_branch_;
  const auto join = [&](const Tensor& d_y, const Tensor& d_x, const Tensor& d_out) {
    return PlacementGradients{d_y, d_x, d_out.defined() ? d_out : d_y, d_branch_};
  };
  BlockGradients g = shared_gradients_;
  g.attention_join = join(middle, d_stream_[1 - flip], d_out_[0]);
  g.feed_forward_join = join(d_stream_[flip], middle, d_out_[1]);
  return g;
}

const Tensor& Activations::stream_into(int64_t layer) const {
  if (layer == 0) return embedded;
  return blocks[static_cast<size_t>(layer - 1)].feed_forward_join.after.out;
}

void Activations::declare_block(const GPTConfig& config, int64_t layer) {
  BlockActivations& block = blocks[static_cast<size_t>(layer)];
  const std::string name = concat("blocks.", layer, ".");
  const Life life{forward_section(), block_section(layer)};
  block.attention_join.declare(plan_, config, name + "norm1", life, layer == 0);
  block.feed_forward_join.declare(plan_, config, name + "norm2", life, false);
  block.attention.declare(plan_, config, name + "attn", life);
  block.feed_forward.declare(plan_, config, name + "ff", life);
}

void Activations::declare_forward(const GPTConfig& config) {
  const int64_t N = shape_.rows(), C = config.embedding_dim;
  const int forward = forward_section(), end = head_section();
  plan_.add(tokens, "tokens", DType::int32, {N}, {forward, embedding_section()});
  plan_.add(targets, "targets", DType::int32, {N}, {forward, end});
  plan_.add(document_starts, "document_starts", DType::int32, {shape_.sequences, shape_.length},
            {forward, block_section(0)});
  // The embedded tokens are what block 0 reads or normalizes first.
  plan_.add_float32(embedded, "embedded", {N, C}, {forward, block_section(0)});
  embedding.declare(plan_, config, {forward, embedding_section()});
  head.declare(plan_, config, {end, end});
  blocks.resize(static_cast<size_t>(num_layers_));
  declare_positions(config);
  const Life now{forward, forward};
  plan_.add_float32(blocks.front().attention_join.branch, "attention_out", {N, C}, now);
  plan_.add_float32(blocks.front().feed_forward_join.branch, "ff_out", {N, C}, now);
  for (int64_t layer = 0; layer < num_layers_; ++layer) {
    declare_block(config, layer);
    if (keep_ == Keep::nothing) break;
  }
  if (config.has_final_norm()) {
    final_norm.declare(plan_, config, "norm", {forward, block_section(num_layers_ - 1)}, true);
  }
}

void Activations::declare_positions(const GPTConfig& config) {
  const int64_t T = shape_.length;
  if (config.positions.has(Position::relative_t5)) {
    plan_.add_float32(relative_bias, "relative_bias", {config.num_heads, T, T},
                      {forward_section(), block_section(0)});
  }
  if (!config.positions.has(Position::relative_xl)) return;
  distances_.resize(static_cast<size_t>(num_layers_));
  for (int64_t layer = 0; layer < num_layers_; ++layer) {
    plan_.add(distances_[static_cast<size_t>(layer)], concat("blocks.", layer, ".attn.distances"),
              {T, config.attention_dim()}, {forward_section(), block_section(layer)});
  }
}

void Activations::declare_backward(const GPTConfig& config) {
  const int64_t N = shape_.rows(), C = config.embedding_dim;
  const int top = block_section(num_layers_ - 1), bottom = block_section(0);
  const Life stream{top, embedding_section()}, blocks_life{top, bottom};
  plan_.add_float32(d_hidden, "d_hidden", {N, C}, {head_section(), top});
  plan_.add_float32(d_stream_[0], "d_stream.0", {N, C}, stream);
  plan_.add_float32(d_stream_[1], "d_stream.1", {N, C}, stream);
  if (Placement::has_own_d_middle(config)) {
    plan_.add_float32(d_middle_, "d_middle", {N, C}, blocks_life);
  }
  if (Placement::has_own_d_out(config)) {
    plan_.add_float32(d_out_[0], "d_attention_out", {N, C}, blocks_life);
    plan_.add_float32(d_out_[1], "d_ff_out", {N, C}, blocks_life);
  }
  plan_.add_float32(d_branch_, "d_branch", {N, C}, blocks_life);
  if (config.positions.has(Position::relative_t5)) {
    plan_.add_float32(d_relative_bias, "d_relative_bias",
                      {config.num_heads, shape_.length, shape_.length}, stream);
  }
  shared_gradients_.attention.declare(plan_, config, blocks_life);
  shared_gradients_.feed_forward.declare(plan_, config, blocks_life);
}

}  // namespace msltx::model
