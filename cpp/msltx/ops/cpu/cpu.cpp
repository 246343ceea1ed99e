#include "msltx/ops/cpu/cpu.h"

#include "msltx/ops/cpu/onednn.h"
#include "msltx/ops/cpu/packed.h"

namespace msltx::ops {

CpuBackend::CpuBackend() : Backend("cpu", "oneDNN matrix products, Highway SIMD") {
  add_activation();
  add_attention();
  add_attention_fused();
  add_cache();
  add_cast();
  add_dropout();
  add_elementwise();
  add_embedding();
  add_head();
  add_layout();
  add_linear();
  add_logits();
  add_loss();
  add_norm();
  add_optimizer();
  add_relative();
  add_rmsnorm();
  add_rope();
  add_sampling();
}

void CpuBackend::prepare_weight(Stream& stream, const Tensor& weight, WeightUse use) const {
  cpu::prepare(stream, weight, use);
}

int64_t CpuBackend::prepared_bytes(const Tensor& weight, WeightUse use) const {
  return cpu::prepared_bytes(weight, use);
}

bool CpuBackend::has_bfloat16_products() const { return cpu::has_bfloat16_products(); }

std::unique_ptr<Backend> make_cpu_backend() { return std::make_unique<CpuBackend>(); }

}  // namespace msltx::ops
