#include "msltx/ops/cpu/cpu.h"

#include "msltx/ops/cpu/packed.h"

namespace msltx::ops {

CpuBackend::CpuBackend() : Backend("cpu", "oneDNN matrix products, Highway SIMD") {
  add_head();
  add_linear();
}

void CpuBackend::prepare_weight(Stream& stream, const Tensor& weight, WeightUse use) const {
  cpu::prepare(stream, weight, use);
}

std::unique_ptr<Backend> make_cpu_backend() { return std::make_unique<CpuBackend>(); }

}  // namespace msltx::ops
