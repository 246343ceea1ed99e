// One Transformer block: attention and feed-forward, each a branch of the residual stream with its
// normalization before (pre) or after (post) the addition.
//
//   pre:   r0 = r + f (the branch below, added late so that addition and norm are one pass)
//          r1 = r0 + attention(norm1(r0));   f' = feed_forward(norm2(r1));   gives (r1, f')
//   post:  x1 = norm1(x + attention(x));     x2 = norm2(x1 + feed_forward(x1));   gives (x2)
#pragma once

#include <cstdint>

#include "msltx/model/activations.h"
#include "msltx/model/config.h"
#include "msltx/model/parameters.h"
#include "msltx/ops/stream.h"

namespace msltx::model {

// The residual stream between blocks: the value so far and, with pre-normalization, a branch that
// is still to be added.
struct Residual {
  Tensor stream, branch;
};

// q, k or v of every head as a view (B, nh, T, hs) of rows (B T, width), from column `first` on.
Tensor head_view(const Tensor& rows, int64_t sequences, int64_t first, int64_t heads,
                 int64_t head_dim);

class Block {
 public:
  Block(const GPTConfig& config, Parameters& parameters, int64_t layer);

  // `rows` is of whole sequences. attend(stream, activations) turns qkv into mix.
  template <class Attend>
  Residual forward(ops::Stream& stream, const BlockActivations& a, const Residual& input,
                   Attend&& attend) const {
    const Tensor x = enter(stream, a, input);
    attention_in(stream, a, x);
    attend(stream, a);
    return leave(stream, a, input);
  }

  // attend() of a training step.
  void attend(ops::Stream& stream, const BlockActivations& a, int64_t sequences) const;

  // From g.d_output to g.d_input, with the partial sums that backward_weights adds up.
  void backward_data(ops::Stream& stream, const BlockActivations& a, const BlockGradients& g,
                     int64_t sequences, int64_t chunk_rows) const;
  // `input` is what forward() got. Writes the weights' gradients, or adds to them.
  void backward_weights(ops::Stream& stream, const BlockActivations& a, const BlockGradients& g,
                        const Residual& input, bool accumulate) const;

 private:
  struct Linear {
    Parameter *weight = nullptr, *bias = nullptr;
    Tensor bias_value() const { return bias ? bias->value : Tensor{}; }
    Tensor bias_grad() const { return bias ? bias->grad : Tensor{}; }
  };

  Tensor enter(ops::Stream& stream, const BlockActivations& a, const Residual& input) const;
  void attention_in(ops::Stream& stream, const BlockActivations& a, const Tensor& x) const;
  Residual leave(ops::Stream& stream, const BlockActivations& a, const Residual& input) const;
  void add_and_normalize(ops::Stream& stream, const NormActivations& a, const Linear& norm,
                         const Tensor& branch, const Tensor& residual) const;
  void normalize_backward(ops::Stream& stream, const Tensor& d_x, const NormActivations& a,
                          const Linear& norm, const Tensor& d_out, const Tensor& d_sum,
                          int64_t chunk_rows) const;
  void feed_forward(ops::Stream& stream, const BlockActivations& a, const Tensor& x) const;
  // Leaves the gradient of the branch's input in g.d_branch.
  void feed_forward_backward(ops::Stream& stream, const BlockActivations& a,
                             const BlockGradients& g, const Tensor& d_out,
                             int64_t chunk_rows) const;
  void attention_backward(ops::Stream& stream, const BlockActivations& a, const BlockGradients& g,
                          const Tensor& d_out, int64_t sequences, int64_t chunk_rows) const;
  void linear_weights(ops::Stream& stream, const Linear& linear, const Tensor& x,
                      const Tensor& d_pre, const Tensor& d_bias_partials, bool accumulate) const;
  void norm_weights(ops::Stream& stream, const Linear& norm, const NormActivations& a,
                    bool accumulate) const;

  bool pre_norm_;
  int64_t num_heads_, num_kv_heads_, head_dim_;
  float eps_, scale_;
  ops::Activation activation_;
  Linear norm1_, qkv_, out_, norm2_, in_, ff_;
};

}  // namespace msltx::model
