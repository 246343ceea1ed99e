// What each room adds to msltx._core.
#pragma once

#include <pybind11/pybind11.h>

namespace msltx::bindings {

void register_base(pybind11::module_& m);
void register_peaks(pybind11::module_& m);

}  // namespace msltx::bindings
