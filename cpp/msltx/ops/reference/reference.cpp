#include "msltx/ops/reference/reference.h"

namespace msltx::ops {

ReferenceBackend::ReferenceBackend() : Backend("reference", "plain C++ loops") {
  add_embedding();
  add_norm();
  add_rmsnorm();
  add_layout();
  add_linear();
  add_elementwise();
  add_activation();
  add_attention();
  add_attention_fused();
  add_cache();
  add_cast();
  add_loss();
  add_optimizer();
  add_dropout();
  add_logits();
  add_relative();
  add_rope();
  add_sampling();
}

std::unique_ptr<Backend> make_reference_backend() { return std::make_unique<ReferenceBackend>(); }

}  // namespace msltx::ops
