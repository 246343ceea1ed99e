// A linear layer with its parameters: weight (out, in), and a bias where the model has one.
#pragma once

#include <cstdint>
#include <string>

#include "msltx/model/parameters.h"
#include "msltx/ops/ops.h"

namespace msltx::model {

class LinearLayer {
 public:
  LinearLayer() = default;  // of no model
  LinearLayer(Parameters& parameters, const std::string& name)
      : weight_(&parameters.at(name + ".weight")), bias_(parameters.find(name + ".bias")) {}

  // out = activation(x weight^T + bias); `pre` keeps what the activation got.
  void forward(ops::Stream& stream, const Tensor& out, const Tensor& x, const Tensor& pre = {},
               ops::Activation activation = ops::Activation::none) const {
    ops::linear_forward(stream,
                        {out, pre, x, weight_->value, bias_ ? bias_->value : Tensor{}, activation});
  }
  // From the gradient of `out` to that of x; d_pre (with an activation) is for backward_weights.
  void backward_data(ops::Stream& stream, const Tensor& d_x, const Tensor& d_bias_partials,
                     const Tensor& d_out, int64_t chunk_rows, const Tensor& d_pre = {},
                     const Tensor& pre = {},
                     ops::Activation activation = ops::Activation::none) const {
    ops::linear_backward_data(
        stream, {d_x, d_pre, d_bias_partials, d_out, weight_->value, pre, activation, chunk_rows});
  }
  void backward_weights(ops::Stream& stream, const Tensor& x, const Tensor& d_pre,
                        const Tensor& d_bias_partials, bool accumulate) const {
    ops::linear_backward_weights(stream, {weight_->grad, bias_ ? bias_->grad : Tensor{}, x, d_pre,
                                          d_bias_partials, accumulate});
  }

 private:
  Parameter *weight_ = nullptr, *bias_ = nullptr;
};

}  // namespace msltx::model
