// A Python callable as the engine's progress function.
#pragma once

#include <pybind11/pybind11.h>

#include "msltx/text/progress.h"

namespace msltx::bindings {

// Calls `callback(stage, done, total)` at most every 50 ms, and at both ends of a stage; what it
// raises ends the work. None gives an empty function. The callback must outlive the result.
text::ProgressFn progress_function(const pybind11::object& callback);

}  // namespace msltx::bindings
