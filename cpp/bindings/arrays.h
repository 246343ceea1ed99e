// NumPy arrays between Python and the engine: borrowed without a copy, never cast.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>

#include "msltx/base/tensor.h"
#include "msltx/model/gpt.h"

namespace msltx::bindings {

// A view of an array that must be C-contiguous and of this dtype. Throws ValueError naming `what`,
// what was expected and what came. The array must outlive the view.
Tensor borrow(const pybind11::array& array, DType dtype, const std::string& what);

// A read-only array of a host tensor's memory, which `owner` keeps alive.
pybind11::array view_of(const Tensor& tensor, const pybind11::object& owner);

// bfloat16 is ml_dtypes'; the others are NumPy's own.
pybind11::dtype numpy_dtype(DType dtype);

// "float32" or "bfloat16"; throws ValueError for anything else.
DType compute_type_named(const std::string& name);

// Says once, in a line of the log, that a model in bfloat16 computes in float32 on this machine.
void announce_conversion(const model::GPT& gpt);

// A new float32 array of this shape.
pybind11::array_t<float> new_array(const std::vector<int64_t>& shape);

}  // namespace msltx::bindings
