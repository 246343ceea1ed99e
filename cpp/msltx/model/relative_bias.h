// The learned bias of T5 (positions: relative_t5): a number per head and bucket of distances, one
// table for all blocks. From it follow biases of attention scores, which depend on the distance of
// query and key alone.
#pragma once

#include "msltx/model/parameters.h"
#include "msltx/ops/stream.h"

namespace msltx::model {

class RelativeBias {
 public:
  explicit RelativeBias(Parameters& parameters)
      : weight_(parameters.find("embed.relative.weight")) {}

  bool exists() const { return weight_ != nullptr; }

  // out (nh, T, S) for queries at the last T of S places. That of one query is what attention
  // against a cache of S places takes.
  void forward(ops::Stream& stream, const Tensor& out) const;
  void backward(ops::Stream& stream, const Tensor& d_out, bool accumulate) const;

 private:
  Parameter* weight_;  // (buckets, nh)
};

}  // namespace msltx::model
