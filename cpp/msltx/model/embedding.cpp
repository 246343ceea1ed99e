#include "msltx/model/embedding.h"

#include "msltx/model/sinusoids.h"

namespace msltx::model {

using ops::Stream;

void EmbeddingActivations::declare(TensorPlan& plan, const GPTConfig& config, Life life) {
  if (config.token_embedding_dim == config.embedding_dim) return;
  const int64_t N = plan.rows(), E = config.token_embedding_dim;
  plan.add_float32(narrow, "embed.narrow", {N, E}, life);
  if (plan.for_backward()) {
    plan.add_float32(d_narrow, "embed.d_narrow", {N, E}, {life.dies, life.dies});
  }
}

Embedding::Embedding(const GPTConfig& config, Parameters& parameters)
    : tokens_(&parameters.at("embed.tokens.weight")),
      positions_(parameters.find("embed.positions.weight")),
      projected_(config.token_embedding_dim != config.embedding_dim),
      tied_(config.tie_weights),
      scale_(static_cast<float>(config.embedding_scale)),
      dropout_(config.dropout, "embed") {
  if (projected_) project_ = LinearLayer(parameters, "embed.project");
  if (config.positions.has(Position::sinusoidal)) {
    constants_ = Arena(constant_bytes(config));
    sinusoids_ = constants_.allocate(DType::float32, {config.context_length, config.embedding_dim});
    fill_sinusoids(sinusoids_);
  }
}

int64_t Embedding::constant_bytes(const GPTConfig& config) {
  if (!config.positions.has(Position::sinusoidal)) return 0;
  return config.context_length * config.embedding_dim * size_of(DType::float32);
}

void Embedding::forward(Stream& stream, const EmbeddingActivations& a, const Tensor& x,
                        const Tensor& tokens, const BatchPart& part, const Tensor& offsets) const {
  ops::embedding_forward(stream, {projected_ ? a.narrow : x, tokens, tokens_->value, scale_});
  if (projected_) project_.forward(stream, x, a.narrow);
  const Tensor view = x.reshape({part.sequences, x.dim(0) / part.sequences, x.dim(1)});
  for (const Tensor& table : {positions_ ? positions_->value : Tensor{}, sinusoids_}) {
    if (table.defined())
      ops::positional_embedding_add_forward(stream, {view, view, table, offsets});
  }
  dropout_.forward(stream, x, part);
}

void Embedding::backward(Stream& stream, const EmbeddingActivations& a, const Tensor& d_x,
                         const Tensor& tokens, const BatchPart& part, bool accumulate) const {
  if (dropout_.exists()) dropout_.backward(stream, d_x, d_x, part);
  if (positions_) {
    ops::positional_embedding_add_backward(
        stream,
        {positions_->grad, d_x.reshape({part.sequences, d_x.dim(0) / part.sequences, d_x.dim(1)}),
         0, 0, accumulate});
  }
  if (projected_) {
    project_.backward_data(stream, a.d_narrow, {}, d_x, 0);
    project_.backward_weights(stream, a.narrow, d_x, {}, accumulate);
  }
  ops::embedding_backward(stream, {tokens_->grad, tokens, projected_ ? a.d_narrow : d_x, 0,
                                   accumulate || tied_, scale_});
}

}  // namespace msltx::model
