// From the hidden state to logits and the loss: the output projection, whose weight may be the
// token table, behind a projection to the table's width where that is not the model's.
#pragma once

#include <cstdint>

#include "msltx/base/arena.h"
#include "msltx/model/linear_layer.h"
#include "msltx/model/tensor_plan.h"

namespace msltx::model {

struct HeadActivations {
  Tensor narrow, d_narrow;  // (N, E), where the hidden state is projected
  void declare(TensorPlan& plan, const GPTConfig& config, Life life);
};

// What the gradient of the logits needs for a while: sums for the bias, and with a soft cap the
// logits once more and their gradient before the cap.
struct LogitsScratch {
  Arena arena;
  Tensor d_bias;            // (1, V)
  Tensor logits, d_logits;  // (N, V)
};

// How the losses of a batch become one number.
struct LossSum {
  int64_t ignore_index = -1;
  float scale = 1;
};

class Head {
 public:
  Head(const GPTConfig& config, Parameters& parameters);

  // Whether it is a factor of the head's matrix products.
  bool multiplies(const Parameter& p) const { return &p == weight_ || &p == project_weight_; }
  // Width of what `narrow` below takes; 0: nothing.
  int64_t narrow_dim() const { return projected_ ? weight_->spec.shape[1] : 0; }

  // out (N, V) from hidden (N, C); `narrow` (N, E) is scratch.
  void logits(ops::Stream& stream, const Tensor& out, const Tensor& hidden,
              const Tensor& narrow) const;
  void loss(ops::Stream& stream, const HeadActivations& a, const Tensor& loss, const Tensor& hidden,
            const Tensor& targets, LossSum sum) const;
  // The loss, d_hidden and the gradients of the head's parameters.
  void loss_backward(ops::Stream& stream, const HeadActivations& a, const Tensor& loss,
                     const Tensor& d_hidden, const Tensor& hidden, const Tensor& targets,
                     LossSum sum, bool accumulate) const;
  LogitsScratch logits_scratch(int64_t rows) const;
  // d_hidden and the gradients, from those of the logits.
  void logits_backward(ops::Stream& stream, const HeadActivations& a, const LogitsScratch& scratch,
                       const Tensor& d_hidden, const Tensor& hidden, const Tensor& d_logits,
                       bool accumulate) const;
  // The gradients of its parameters become 0.
  void zero_gradients(ops::Stream& stream) const;

 private:
  Tensor bias_value() const { return bias_ ? bias_->value : Tensor{}; }
  Tensor bias_grad() const { return bias_ ? bias_->grad : Tensor{}; }
  // What the output projection reads.
  Tensor project(ops::Stream& stream, const Tensor& hidden, const Tensor& narrow) const;
  void project_backward(ops::Stream& stream, const HeadActivations& a, const Tensor& d_hidden,
                        const Tensor& hidden, bool accumulate) const;

  bool projected_;
  float softcap_;  // 0: none
  Parameter *weight_, *bias_;
  Parameter* project_weight_ = nullptr;
  LinearLayer project_;
};

}  // namespace msltx::model
