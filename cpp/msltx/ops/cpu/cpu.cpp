#include "msltx/ops/cpu/cpu.h"

namespace msltx::ops {

CpuBackend::CpuBackend() : Backend("cpu", "oneDNN matrix products, Highway SIMD") {}

std::unique_ptr<Backend> make_cpu_backend() { return std::make_unique<CpuBackend>(); }

}  // namespace msltx::ops
