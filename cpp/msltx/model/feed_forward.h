// The feed-forward layer of a block: out(activation(in(x))). With a gated activation `in` is twice
// as wide: its first half goes through the activation and is multiplied by the second.
#pragma once

#include <cstdint>
#include <string>

#include "msltx/model/linear_layer.h"
#include "msltx/model/tensor_plan.h"

namespace msltx::model {

struct FeedForwardActivations {
  // (N, F or 2 F), (N, F): before and after the activation. A gated `pre` is there in inference
  // too, and becomes its own gradient in the backward.
  Tensor pre, act;
  Tensor d_in_bias, d_out_bias;  // partial sums (P, F or 2 F), (P, C)

  void declare(TensorPlan& plan, const GPTConfig& config, const std::string& name, Life life);
  FeedForwardActivations rows(const ops::Rows& r) const;
};

struct FeedForwardGradients {
  Tensor d_act;  // (N, F), then d_pre in place where the activation is not gated

  void declare(TensorPlan& plan, const GPTConfig& config, Life life);
  FeedForwardGradients rows(const ops::Rows& r) const { return {cut(d_act, r)}; }
};

class FeedForward {
 public:
  FeedForward(const GPTConfig& config, Parameters& parameters, const std::string& name);

  void forward(ops::Stream& stream, const FeedForwardActivations& a, const Tensor& out,
               const Tensor& x) const;
  void backward_data(ops::Stream& stream, const FeedForwardActivations& a,
                     const FeedForwardGradients& g, const Tensor& d_x, const Tensor& d_out,
                     int64_t chunk_rows) const;
  void backward_weights(ops::Stream& stream, const FeedForwardActivations& a,
                        const FeedForwardGradients& g, const Tensor& x, const Tensor& d_out,
                        bool accumulate) const;

 private:
  // Gate and up, the halves of a gated `pre`.
  Tensor gate(const Tensor& pre) const { return pre.slice(1, 0, pre.dim(1) / 2); }
  Tensor up(const Tensor& pre) const { return pre.slice(1, pre.dim(1) / 2, pre.dim(1) / 2); }

  std::string name_;  // the scope of its ops
  Activation activation_;
  bool gated_;
  LinearLayer in_, out_;
};

}  // namespace msltx::model
