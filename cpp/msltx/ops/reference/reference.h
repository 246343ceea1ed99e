// The reference backend: plain loops, no SIMD, no libraries. It defines what every op means, is the
// oracle of the tests and runs where nothing faster was built.
#pragma once

#include <memory>

#include "msltx/ops/backend.h"

namespace msltx::ops {

class ReferenceBackend final : public Backend {
 public:
  ReferenceBackend();

 private:
  // One per family, each in the file of its kernels.
  void add_cast();
  void add_dropout();
  void add_embedding();
  void add_logits();
  void add_norm();
  void add_rmsnorm();
  void add_layout();
  void add_linear();
  void add_elementwise();
  void add_activation();
  void add_attention();
  void add_attention_fused();
  void add_cache();
  void add_loss();
  void add_optimizer();
  void add_relative();
  void add_rope();
  void add_sampling();
};

std::unique_ptr<Backend> make_reference_backend();

}  // namespace msltx::ops
