#include "msltx/model/activations.h"

#include <initializer_list>

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

Tensor cut(const Tensor& t, const Rows& r) { return t.rows(r.first_row, r.rows); }
Tensor cut_partials(const Tensor& t, const Rows& r) { return t.rows(r.first_chunk, r.chunks); }

}  // namespace

NormActivations NormActivations::rows(const Rows& r) const {
  return {cut(sum, r),
          cut(out, r),
          cut(mean, r),
          cut(rstd, r),
          cut_partials(d_gamma, r),
          cut_partials(d_beta, r)};
}

BlockActivations BlockActivations::rows(const Rows& r) const {
  return {norm1.rows(r),
          norm2.rows(r),
          cut(qkv, r),
          cut(mix, r),
          lse.rows(r.first_sequence, r.sequences),
          cut(pre, r),
          cut(act, r),
          cut(attention_out, r),
          cut(ff_out, r),
          cut_partials(d_qkv_bias, r),
          cut_partials(d_out_bias, r),
          cut_partials(d_in_bias, r),
          cut_partials(d_ff_bias, r)};
}

BlockGradients BlockGradients::rows(const Rows& r) const {
  return {cut(d_output, r), cut(d_input, r), cut(d_norm2_sum, r), cut(d_norm1_sum, r),
          cut(d_branch, r), cut(d_qkv, r),   cut(d_act, r)};
}

Activations::Activations(const GPTConfig& config, BatchShape shape, Keep keep)
    : shape_(shape),
      keep_(keep),
      num_layers_(config.num_layers),
      chunking_(ops::Chunking::of(shape.sequences, shape.length, target_rows(config))),
      embedding_dim_(config.embedding_dim) {
  declare_forward(config);
  if (keep == Keep::for_backward) declare_backward(config);
  plan_.lay_out();
}

void Activations::allocate() {
  plan_.allocate();
  for (auto& [view, index] : bound_) *view = plan_.tensor(index);
  for (BlockActivations& block : blocks) {
    if (&block == &blocks.front()) continue;
    block.attention_out = blocks.front().attention_out;
    block.ff_out = blocks.front().ff_out;
    if (keep_ == Keep::nothing) block = blocks.front();
  }
  if (!blocks.front().norm1.sum.defined()) blocks.front().norm1.sum = embedded;
  hidden = final_norm.out.defined() ? final_norm.out : blocks.back().norm2.out;
}

BlockGradients Activations::gradients(int64_t layer) const {
  BlockGradients g = shared_gradients_;
  const auto flip = static_cast<size_t>((num_layers_ - 1 - layer) % 2);
  g.d_output = d_stream_[flip];
  g.d_input = d_stream_[1 - flip];
  if (!g.d_norm1_sum.defined()) g.d_norm1_sum = g.d_input;
  return g;
}

void Activations::add(Tensor& tensor, std::string name, DType dtype,
                      std::initializer_list<int64_t> shape, int born, int dies) {
  bound_.emplace_back(&tensor, plan_.add(std::move(name), dtype, shape, born, dies));
}

void Activations::declare_norm(NormActivations& norm, const std::string& name, int dies,
                               bool sum_is_given) {
  const int64_t N = shape_.rows(), C = embedding_dim_, P = chunking_.chunks();
  const int born = forward_section();
  if (!sum_is_given) add(norm.sum, name + ".sum", DType::float32, {N, C}, born, dies);
  add(norm.out, name + ".out", DType::float32, {N, C}, born, dies);
  if (keep_ == Keep::nothing) return;
  add(norm.mean, name + ".mean", DType::float32, {N}, born, dies);
  add(norm.rstd, name + ".rstd", DType::float32, {N}, born, dies);
  add(norm.d_gamma, name + ".d_gamma", DType::float32, {P, C}, dies, dies);
  add(norm.d_beta, name + ".d_beta", DType::float32, {P, C}, dies, dies);
}

void Activations::declare_block(const GPTConfig& config, BlockActivations& block,
                                const std::string& name, int dies) {
  const int64_t N = shape_.rows(), C = embedding_dim_, P = chunking_.chunks();
  const int64_t B = shape_.sequences, T = shape_.length, F = config.ff_dim;
  const int64_t A = config.attention_dim(), Q = config.qkv_dim();
  const int born = forward_section();
  const bool first = &block == &blocks.front();
  const bool pre_norm = config.norm_placement == NormPlacement::pre;
  declare_norm(block.norm1, name + "norm1", dies, first && pre_norm && keep_ == Keep::for_backward);
  declare_norm(block.norm2, name + "norm2", dies, false);
  add(block.qkv, name + "attn.qkv", DType::float32, {N, Q}, born, dies);
  add(block.mix, name + "attn.mix", DType::float32, {N, A}, born, dies);
  add(block.act, name + "ff.act", DType::float32, {N, F}, born, dies);
  if (keep_ == Keep::nothing) return;
  add(block.lse, name + "attn.lse", DType::float32, {B, config.num_heads, T}, born, dies);
  add(block.pre, name + "ff.pre", DType::float32, {N, F}, born, dies);
  if (config.bias.qkv)
    add(block.d_qkv_bias, name + "attn.d_qkv_bias", DType::float32, {P, Q}, dies, dies);
  if (config.bias.attention_out) {
    add(block.d_out_bias, name + "attn.d_out_bias", DType::float32, {P, C}, dies, dies);
  }
  if (config.bias.feed_forward) {
    add(block.d_in_bias, name + "ff.d_in_bias", DType::float32, {P, F}, dies, dies);
    add(block.d_ff_bias, name + "ff.d_out_bias", DType::float32, {P, C}, dies, dies);
  }
}

void Activations::declare_forward(const GPTConfig& config) {
  const int64_t N = shape_.rows(), C = embedding_dim_;
  const int forward = forward_section(), head = head_section();
  add(tokens, "tokens", DType::int32, {N}, forward, embedding_section());
  add(targets, "targets", DType::int32, {N}, forward, head);
  // With pre-normalization the embedded tokens are what block 0 normalizes first.
  add(embedded, "embedded", DType::float32, {N, C}, forward, block_section(0));
  blocks.resize(static_cast<size_t>(num_layers_));
  add(blocks.front().attention_out, "attention_out", DType::float32, {N, C}, forward, forward);
  add(blocks.front().ff_out, "ff_out", DType::float32, {N, C}, forward, forward);
  for (int64_t layer = 0; layer < num_layers_; ++layer) {
    declare_block(config, blocks[static_cast<size_t>(layer)], concat("blocks.", layer, "."),
                  block_section(layer));
    if (keep_ == Keep::nothing) break;
  }
  if (config.has_final_norm()) {
    declare_norm(final_norm, "norm", block_section(num_layers_ - 1), false);
  }
}

void Activations::declare_backward(const GPTConfig& config) {
  const int64_t N = shape_.rows(), C = embedding_dim_;
  const int top = block_section(num_layers_ - 1), bottom = block_section(0);
  const int end = embedding_section();
  add(d_hidden, "d_hidden", DType::float32, {N, C}, head_section(), top);
  add(d_stream_[0], "d_stream.0", DType::float32, {N, C}, top, end);
  add(d_stream_[1], "d_stream.1", DType::float32, {N, C}, top, end);
  add(shared_gradients_.d_norm2_sum, "d_norm2_sum", DType::float32, {N, C}, top, bottom);
  if (config.norm_placement == NormPlacement::post) {
    add(shared_gradients_.d_norm1_sum, "d_norm1_sum", DType::float32, {N, C}, top, bottom);
  }
  add(shared_gradients_.d_branch, "d_branch", DType::float32, {N, C}, top, bottom);
  add(shared_gradients_.d_qkv, "d_qkv", DType::float32, {N, config.qkv_dim()}, top, bottom);
  add(shared_gradients_.d_act, "d_act", DType::float32, {N, config.ff_dim}, top, bottom);
}

}  // namespace msltx::model
