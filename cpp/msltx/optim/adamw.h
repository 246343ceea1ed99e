// AdamW over a model's parameters: decoupled weight decay on matrices only (Loshchilov and Hutter
// 2019). Moments lie in an arena each, in the order of the parameters' own arena.
#pragma once

#include <cstdint>

#include "msltx/base/arena.h"
#include "msltx/ops/stream.h"

namespace msltx::optim {

struct AdamWOptions {
  float weight_decay = 0.01f;
  double beta1 = 0.9, beta2 = 0.999;
  float eps = 1e-8f;
  float grad_clip = 0;  // largest global norm of the gradients; 0: no limit
};

// Throws ValueError naming the option, its value and its limits.
void check(const AdamWOptions& options);

class AdamW {
 public:
  // `size` numbers, of which the first `decayed` decay.
  AdamW(int64_t size, int64_t decayed, const AdamWOptions& options);

  const AdamWOptions& options() const { return options_; }
  static int64_t bytes(int64_t size) { return 2 * Arena::aligned(size * size_of(DType::float32)); }

  // Encodes norm = |gradients|, the decision to clip or skip, and the update. `losses` (any count)
  // must be finite too; `skip_always` is for a step without a counted token. Nothing changes where
  // skip is set: read norm() and skip() after the wait, and then call finish().
  void encode(ops::Stream& stream, const Tensor& values, const Tensor& gradients,
              const Tensor& losses, float learning_rate, bool skip_always);
  Tensor norm() const { return norm_; }
  Tensor skip() const { return skip_; }
  // The step counts unless it was skipped.
  void finish(bool skipped) { steps_ += skipped ? 0 : 1; }

  // State, for checkpoints.
  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }
  Tensor first_moment() const { return m_; }
  Tensor second_moment() const { return v_; }

 private:
  AdamWOptions options_;
  int64_t decayed_;
  int64_t steps_ = 0;
  Arena moments_, scalars_;
  Tensor m_, v_;
  Tensor norm_, grad_scale_, skip_;
};

}  // namespace msltx::optim
