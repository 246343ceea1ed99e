// One call of any op from Python: arguments bound by the op's description, outputs made or taken
// from out=, everything checked, the op run without the GIL.
#pragma once

#include <pybind11/numpy.h>

#include <optional>
#include <utility>

#include "msltx/ops/backend.h"

namespace msltx::bindings {

// `inputs` are positional, in the op's order; `named` holds further inputs, attributes, out and
// backend. Returns the output, or a tuple of outputs.
pybind11::object call_op(const ops::OpInfo& info, const pybind11::tuple& inputs,
                         const pybind11::dict& named);

// Names of the op that call_op() ran last and of the backend whose kernel that was, as the stream's
// interceptor saw them; nothing before the first call.
std::optional<std::pair<std::string_view, std::string_view>> last_kernel();

}  // namespace msltx::bindings
