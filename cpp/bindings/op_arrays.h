// NumPy arrays as the tensors of an op: used in place where dtype and layout fit, refused with a
// sentence naming op and argument where they do not. Only token ids and their like are converted.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "msltx/ops/op.h"

namespace msltx::bindings {

using Shape = std::vector<int64_t>;

// The NumPy dtype of a field in an op whose compute type is that of `compute`.
pybind11::dtype dtype_of_field(ops::Element element, const pybind11::dtype& compute);

// The array that an input stands for: a NumPy array or scalar of an allowed float type, or, for an
// int32 field, integers of any type, nested lists included, as contiguous int32.
pybind11::array input_array(const ops::OpInfo& info, const ops::FieldInfo& field,
                            pybind11::handle value);

// The array of an out= argument: writable, with this dtype and shape.
pybind11::array output_array(const ops::OpInfo& info, const ops::FieldInfo& field,
                             pybind11::handle value, const pybind11::dtype& dtype,
                             const Shape& shape);

// The array's memory, with leading dimensions flattened to N where the field has a row axis, and a
// scalar as one element where it has one dimension. `leading` is what N stands for, settled by the
// first field that has it.
Tensor tensor_of(const ops::OpInfo& info, const ops::FieldInfo& field, const pybind11::array& array,
                 std::optional<Shape>& leading);

Shape shape_of(const pybind11::array& array);

}  // namespace msltx::bindings
