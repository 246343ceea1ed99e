// Which backends this build has: reference_only.cpp or reference_and_cpu.cpp, chosen by CMake.
#pragma once

#include <memory>
#include <vector>

#include "msltx/ops/backend.h"

namespace msltx::ops {

// The reference first, then the others, slowest to fastest; only those this machine can run.
std::vector<std::unique_ptr<Backend>> make_backends();

}  // namespace msltx::ops
