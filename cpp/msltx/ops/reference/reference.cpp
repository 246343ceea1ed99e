#include "msltx/ops/reference/reference.h"

namespace msltx::ops {

ReferenceBackend::ReferenceBackend() : Backend("reference", "plain C++ loops") { add_norm(); }

std::unique_ptr<Backend> make_reference_backend() { return std::make_unique<ReferenceBackend>(); }

}  // namespace msltx::ops
