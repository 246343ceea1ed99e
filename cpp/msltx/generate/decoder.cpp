#include "msltx/generate/decoder.h"

#include <algorithm>

#include "msltx/base/error.h"
#include "msltx/base/memory.h"
#include "msltx/ops/ops.h"

namespace msltx::generate {
namespace {

using ops::Stream;

// A prompt is fed in pieces of at most so many tokens, which bounds the activations.
constexpr int64_t kPiece = 256;

}  // namespace

int64_t Decoder::cache_bytes(const model::GPTConfig& config, DType dtype, int64_t sequences,
                             int64_t capacity) {
  return 2 * config.num_layers *
         Arena::aligned(sequences * config.num_kv_heads * capacity * config.head_dim *
                        size_of(dtype));
}

Decoder::Decoder(model::GPT& model, int64_t sequences, int64_t capacity)
    : model_(model), sequences_(sequences), capacity_(capacity) {
  const model::GPTConfig& c = model.config();
  if (sequences < 1) throw ValueError(concat("sequences is ", sequences, "; it takes 1 or more"));
  if (capacity < 1 || capacity > c.context_length) {
    throw ValueError(concat("the cache's capacity is ", capacity, " tokens; it takes 1 to ",
                            c.context_length, ", the model's context_length"));
  }
  const int64_t bytes = cache_bytes(c, model.dtype(), sequences, capacity) + positions_bytes();
  if (bytes > available_memory()) {
    throw MemoryLimitError(concat("a key/value cache of ", sequences, " x ", capacity,
                                  " tokens takes ", bytes, " bytes; ", available_memory(),
                                  " bytes of memory are available"));
  }
  arena_ = Arena(bytes + 2 * Arena::aligned(sequences * size_of(DType::int32)) +
                 Arena::aligned(sequences * c.vocab_size * size_of(DType::float32)) +
                 Arena::aligned(sequences * model.narrow_dim() * size_of(DType::float32)));
  for (int64_t layer = 0; layer < c.num_layers; ++layer) {
    const auto cache = [&] {
      return arena_.allocate(model.dtype(), {sequences, c.num_kv_heads, capacity, c.head_dim});
    };
    layers_.push_back({cache(), cache(), {}});
  }
  positions_ = arena_.allocate(DType::int32, {sequences});
  lengths_ = arena_.allocate(DType::int32, {sequences});
  logits_ = arena_.allocate(DType::float32, {sequences, c.vocab_size});
  if (model.narrow_dim() > 0) {
    narrow_ = arena_.allocate(model.dtype(), {sequences, model.narrow_dim()});
  }
  allocate_positions();
}

int64_t Decoder::positions_bytes() const {
  const model::GPTConfig& c = model_.config();
  int64_t bytes = 0;
  if (c.positions.has(model::Position::relative_t5)) {
    bytes += Arena::aligned(c.num_heads * capacity_ * size_of(DType::float32));
  }
  if (c.positions.has(model::Position::relative_xl)) {
    bytes += c.num_layers * Arena::aligned(capacity_ * c.attention_dim() * size_of(model_.dtype()));
    bytes += Arena::aligned(sequences_ * c.num_heads * std::min(kPiece, capacity_) * capacity_ *
                            size_of(model_.dtype()));
  }
  return bytes;
}

void Decoder::allocate_positions() {
  const model::GPTConfig& c = model_.config();
  if (c.positions.has(model::Position::relative_t5)) {
    relative_bias_ = arena_.allocate(DType::float32, {c.num_heads, 1, capacity_});
  }
  if (!c.positions.has(model::Position::relative_xl)) return;
  for (Layer& layer : layers_) {
    layer.distances = arena_.allocate(model_.dtype(), {capacity_, c.attention_dim()});
  }
  scores_ = arena_.allocate(model_.dtype(),
                            {sequences_ * c.num_heads * std::min(kPiece, capacity_) * capacity_});
}

void Decoder::encode_positions(Stream& stream) {
  model_.encode_relative_bias(stream, relative_bias_);
  for (size_t i = 0; i < layers_.size(); ++i) {
    model_.blocks()[i].encode_distances(stream, layers_[i].distances);
  }
}

model::Activations& Decoder::activations_for(int64_t count) {
  std::unique_ptr<model::Activations>& slot = count == 1 ? one_ : many_;
  if (!slot || slot->shape().length != count) {
    slot =
        std::make_unique<model::Activations>(model_.config(), model::BatchShape{sequences_, count},
                                             model::Keep::nothing, model_.dtype());
    slot->allocate();
  }
  return *slot;
}

void Decoder::feed(Stream& stream, const int32_t* tokens, int64_t count) {
  if (count < 1) throw ValueError("feed was given no tokens");
  if (count > capacity_ - length_) {
    throw ValueError(concat("the cache holds ", length_, " of ", capacity_, " tokens; ", count,
                            " more do not fit"));
  }
  model_.check_tokens(tokens, sequences_ * count);
  model_.encode_prepare(stream, false);
  if (length_ == 0) encode_positions(stream);
  for (int64_t first = 0; first < count; first += kPiece) {
    const int64_t piece = std::min(kPiece, count - first);
    feed_piece(stream, tokens + first, count, piece, first + piece == count);
  }
}

void Decoder::feed_piece(Stream& stream, const int32_t* tokens, int64_t stride, int64_t count,
                         bool last) {
  const model::Activations& a = activations_for(count);
  for (int64_t b = 0; b < sequences_; ++b) {
    stream.write(a.tokens.slice(0, b * count, count), tokens + b * stride);
  }
  const std::vector<int32_t> first(static_cast<size_t>(sequences_), static_cast<int32_t>(length_));
  const std::vector<int32_t> end(static_cast<size_t>(sequences_),
                                 static_cast<int32_t>(length_ + count));
  stream.write(positions_, first.data());
  stream.write(lengths_, end.data());

  const model::BatchPart part{.sequences = sequences_};
  model_.encode_embedding(stream, a.embedding, a.embedded, a.tokens, part, positions_);
  const Tensor relative_bias = relative_bias_.defined()
                                   ? relative_bias_.reshape({relative_bias_.dim(0), capacity_})
                                   : Tensor{};
  model::Residual residual{a.embedded, {}};
  for (size_t i = 0; i < layers_.size(); ++i) {
    const model::LayerCache cache{layers_[i].k,  layers_[i].v,         positions_, lengths_,
                                  relative_bias, layers_[i].distances, scores_,    length_ + count};
    residual = model_.blocks()[i].forward(stream, a.blocks[i], residual, part, &cache);
  }
  const Tensor hidden = model_.encode_final_norm(stream, a.final_norm, residual);
  length_ += count;
  if (!last) return;
  // The last row of every sequence, as a strided view.
  Tensor ends = hidden.slice(0, count - 1, 1);
  ends.shape[0] = sequences_;
  ends.strides[0] = count * hidden.stride(0);
  model_.encode_logits(stream, logits_, ends, narrow_);
}

}  // namespace msltx::generate
