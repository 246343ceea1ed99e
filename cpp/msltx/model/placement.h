// Where a sub-layer f (attention or feed-forward) and its normalizations stand in the residual
// stream:
//
//   pre:      x + f(Norm(x))
//   post:     Norm(x + f(x))
//   sublayer: x + Norm(f(x))
//   sandwich: x + Norm_post(f(Norm(x)))
//
// Dropout is of the branch: of what is added to x.
//
// Except with post, the branch is added late: a sub-layer hands its branch on, and whoever comes
// next adds it, in one pass with a normalization where one follows. f itself is its owner's.
#pragma once

#include <cstdint>
#include <string>

#include "msltx/model/dropout.h"
#include "msltx/model/norm.h"

namespace msltx::model {

// The residual stream between sub-layers: the value so far and, except with post, a branch that is
// still to be added.
struct Residual {
  Tensor stream, branch;
};

struct PlacementActivations {
  NormActivations before, after;  // those that the placement has
  Tensor x;                       // (N, C), sublayer: the stream with the branch added
  Tensor branch;                  // (N, C): dead once it is added; one for all blocks

  // `first`: nothing comes before but the embedding, so that there is no branch to add.
  void declare(TensorPlan& plan, const GPTConfig& config, const std::string& name, Life life,
               bool first);
  PlacementActivations rows(const ops::Rows& r) const;
};

// All (N, C).
struct PlacementGradients {
  Tensor d_y;    // of the stream after the sub-layer
  Tensor d_x;    // of the stream before it
  Tensor d_out;  // of what f gave; f's weights read it
  Tensor d_in;   // of what f read

  PlacementGradients rows(const ops::Rows& r) const {
    return {cut(d_y, r), cut(d_x, r), cut(d_out, r), cut(d_in, r)};
  }
};

class Placement {
 public:
  // The normalization `name`, and with sandwich `name`_post.
  Placement(const GPTConfig& config, Parameters& parameters, const std::string& name);

  // Whether the gradient of what f gave needs memory of its own: otherwise it is d_y.
  static bool has_own_d_out(const GPTConfig& config) {
    return config.norm_placement != NormPlacement::pre || config.dropout > 0;
  }
  // Whether the gradient between the two sub-layers needs memory beside that of what f read.
  static bool has_own_d_middle(const GPTConfig& config) {
    return config.norm_placement != NormPlacement::post || config.dropout > 0;
  }

  // Adds the branch of `input` to its stream and gives what f reads.
  Tensor enter(ops::Stream& stream, const PlacementActivations& a, Residual& input) const;
  // What enter() gave, once more for the backward; `stream` is what it got where there was no
  // branch to add.
  Tensor entered(const PlacementActivations& a, const Tensor& stream) const;
  // What f writes.
  Tensor output(const PlacementActivations& a) const;
  // From f's output and what enter() left in `input` to the stream after the sub-layer.
  Residual leave(ops::Stream& stream, const PlacementActivations& a, const Residual& input,
                 const BatchPart& part) const;

  // From g.d_y to g.d_out. With dropout g.d_in, which is free until f has run, serves as scratch,
  // and g.d_x holds the gradient of the sum where a norm follows that (post).
  void leave_backward(ops::Stream& stream, const PlacementActivations& a,
                      const PlacementGradients& g, const BatchPart& part, int64_t chunk_rows) const;
  // From g.d_in to g.d_x.
  void enter_backward(ops::Stream& stream, const PlacementActivations& a,
                      const PlacementGradients& g, int64_t chunk_rows) const;
  void backward_weights(ops::Stream& stream, const PlacementActivations& a, bool accumulate) const;

 private:
  std::string name_;  // the scope of its own ops
  NormPlacement placement_;
  NormLayer before_, after_;
  Dropout dropout_;
};

}  // namespace msltx::model
