// Decoder: a model fed token by token (or a prompt at once) against a key/value cache. Inference is
// row-invariant: the logits of a sequence have the same bits whatever else is in the batch and
// however its tokens were cut into calls.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "msltx/base/arena.h"
#include "msltx/model/activations.h"
#include "msltx/model/gpt.h"
#include "msltx/ops/stream.h"

namespace msltx::generate {

class Decoder {
 public:
  // A cache with room for `capacity` tokens of each of `sequences` sequences. Throws ValueError
  // where capacity is past context_length, MemoryLimitError where the cache does not fit in memory.
  Decoder(model::GPT& model, int64_t sequences, int64_t capacity);

  int64_t sequences() const { return sequences_; }
  int64_t capacity() const { return capacity_; }
  int64_t length() const { return length_; }  // tokens fed to each sequence so far
  void reset() { length_ = 0; }
  static int64_t cache_bytes(const model::GPTConfig& config, DType dtype, int64_t sequences,
                             int64_t capacity);

  // Encodes `count` further tokens of every sequence, tokens (sequences, count). logits() then
  // holds those after the last of them. Throws ValueError where the capacity would be passed.
  void feed(ops::Stream& stream, const int32_t* tokens, int64_t count);
  Tensor logits() const { return logits_; }  // (sequences, V)

 private:
  struct Layer {
    Tensor k, v;       // (sequences, nkv, capacity, hs)
    Tensor distances;  // (capacity, nh hs), with positions relative_xl
  };
  int64_t positions_bytes() const;
  void allocate_positions();
  // What relative positions make of the parameters: once for all tokens of a text.
  void encode_positions(ops::Stream& stream);
  void feed_piece(ops::Stream& stream, const int32_t* tokens, int64_t stride, int64_t count,
                  bool last);
  model::Activations& activations_for(int64_t count);

  model::GPT& model_;
  int64_t sequences_, capacity_;
  int64_t length_ = 0;
  Arena arena_;
  std::vector<Layer> layers_;
  Tensor positions_, lengths_;  // (sequences) int32
  Tensor logits_;
  Tensor narrow_;         // scratch of the head, where it has a projection
  Tensor relative_bias_;  // (nh, 1, capacity), with positions relative_t5
  Tensor scores_;         // room for those of a piece, with positions relative_xl
  std::unique_ptr<model::Activations> one_, many_;  // for single tokens and for pieces of a prompt
};

}  // namespace msltx::generate
