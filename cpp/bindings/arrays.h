// NumPy arrays between Python and the engine: borrowed without a copy, never cast.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>

#include "msltx/base/tensor.h"

namespace msltx::bindings {

// A view of an array that must be C-contiguous and of this dtype. Throws ValueError naming `what`,
// what was expected and what came. The array must outlive the view.
Tensor borrow(const pybind11::array& array, DType dtype, const std::string& what);

// A read-only array of a host tensor's memory, which `owner` keeps alive.
pybind11::array view_of(const Tensor& tensor, const pybind11::object& owner);

// A new float32 array of this shape.
pybind11::array_t<float> new_array(const std::vector<int64_t>& shape);

}  // namespace msltx::bindings
