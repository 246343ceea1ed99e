// The feed-forward layer of a block: out(activation(in(x))).
#pragma once

#include <cstdint>
#include <string>

#include "msltx/model/linear_layer.h"
#include "msltx/model/tensor_plan.h"

namespace msltx::model {

struct FeedForwardActivations {
  Tensor pre, act;               // (N, F): before and after the activation
  Tensor d_in_bias, d_out_bias;  // partial sums (P, F), (P, C)

  void declare(TensorPlan& plan, const GPTConfig& config, const std::string& name, Life life);
  FeedForwardActivations rows(const ops::Rows& r) const;
};

struct FeedForwardGradients {
  Tensor d_act;  // (N, F), then d_pre in place

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
  ops::Activation activation_;
  LinearLayer in_, out_;
};

}  // namespace msltx::model
