// Dropout of a model in training. Nothing is stored: forward and backward draw the same numbers
// from (training seed, step, number of the sequence within the step, place in the model), so that
// threads, chunks, micro-batches and a resumed run change no bit. ops/dropout.h and
// ops/attention_dropout.h say how a number follows from these.
#pragma once

#include <cstdint>
#include <string_view>

#include "msltx/base/philox.h"
#include "msltx/base/tensor.h"
#include "msltx/model/batch_part.h"
#include "msltx/ops/stream.h"

namespace msltx::model {

// One place where a model drops. Each has a seed of its own: the training's, xor the hash of the
// place's name.
class Dropout {
 public:
  Dropout() = default;  // drops nothing
  Dropout(double rate, std::string_view place)
      : rate_(static_cast<float>(rate)), place_(hash_name(place)) {}

  bool exists() const { return rate_ > 0; }
  float rate(const Draw& draw) const { return draw.on ? rate_ : 0; }
  int64_t seed(const Draw& draw) const { return static_cast<int64_t>(draw.seed ^ place_); }

  // x (N, C), in place.
  void forward(ops::Stream& stream, const Tensor& x, const BatchPart& part) const;
  // d_x may be d_out.
  void backward(ops::Stream& stream, const Tensor& d_x, const Tensor& d_out,
                const BatchPart& part) const;

 private:
  float rate_ = 0;
  uint64_t place_ = 0;
};

}  // namespace msltx::model
