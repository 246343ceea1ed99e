// A normalization with its parameters: layernorm or rmsnorm, alone or fused with the residual
// addition before it. Where it stands in a block is placement.h.
#pragma once

#include <cstdint>
#include <string>

#include "msltx/model/config.h"
#include "msltx/model/parameters.h"
#include "msltx/model/tensor_plan.h"
#include "msltx/ops/stream.h"

namespace msltx::model {

// What the result of a norm is: read by a layer, so of the compute type; the residual stream; or
// memory that the caller has elsewhere.
enum class NormOut : uint8_t { for_layer, stream, elsewhere };

struct NormActivations {
  Tensor in, out;           // (N, C): what is normalized, and the result
  Tensor mean, rstd;        // (N); rmsnorm has no mean
  Tensor d_weight, d_bias;  // partial sums (P, C)
  // `in` is left out where the caller has it elsewhere.
  void declare(TensorPlan& plan, const GPTConfig& config, const std::string& name, Life life,
               bool with_in, NormOut kind = NormOut::for_layer);
  NormActivations rows(const ops::Rows& r) const;
};

class NormLayer {
 public:
  NormLayer() = default;  // of no model
  // The parameters `name`.weight and, where there is one, `name`.bias.
  NormLayer(const GPTConfig& config, Parameters& parameters, const std::string& name);

  bool exists() const { return weight_ != nullptr; }

  // a.out = Norm(x)
  void forward(ops::Stream& stream, const NormActivations& a, const Tensor& x) const;
  // a.in = branch + residual, a.out = Norm(a.in)
  void add_forward(ops::Stream& stream, const NormActivations& a, const Tensor& branch,
                   const Tensor& residual) const;
  // From a.in and the gradient of a.out: d_x = d_residual (zero where it is not defined) + the
  // gradient of a.in, with the partial sums that backward_weights adds up.
  void backward_data(ops::Stream& stream, const NormActivations& a, const Tensor& d_x,
                     const Tensor& d_out, const Tensor& d_residual, int64_t chunk_rows) const;
  void backward_weights(ops::Stream& stream, const NormActivations& a, bool accumulate) const;

 private:
  Tensor bias_value() const { return bias_ ? bias_->value : Tensor{}; }

  std::string name_;  // the scope of its ops
  Norm kind_ = Norm::layernorm;
  float eps_ = 0;
  bool plus_one_ = false;
  Parameter *weight_ = nullptr, *bias_ = nullptr;
};

}  // namespace msltx::model
