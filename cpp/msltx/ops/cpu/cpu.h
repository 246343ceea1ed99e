// The fast backend for host memory: oneDNN for matrix products, Highway for the rest.
#pragma once

#include <memory>

#include "msltx/ops/backend.h"

namespace msltx::ops {

class CpuBackend final : public Backend {
 public:
  CpuBackend();

  void prepare_weight(Stream& stream, const Tensor& weight, WeightUse use) const override;
  int64_t prepared_bytes(const Tensor& weight, WeightUse use) const override;
  bool has_bfloat16_products() const override;
  double matrix_peak(Executor& executor, DType dtype) const override;

 private:
  // One per family, each in the file of its kernels.
  void add_activation();
  void add_attention();
  void add_attention_fused();
  void add_cache();
  void add_cast();
  void add_dropout();
  void add_elementwise();
  void add_embedding();
  void add_head();
  void add_layout();
  void add_linear();
  void add_logits();
  void add_loss();
  void add_norm();
  void add_optimizer();
  void add_relative();
  void add_rmsnorm();
  void add_rope();
  void add_sampling();
};

std::unique_ptr<Backend> make_cpu_backend();

}  // namespace msltx::ops
