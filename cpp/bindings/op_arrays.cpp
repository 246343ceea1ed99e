#include "bindings/op_arrays.h"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>
#include <utility>

#include "msltx/base/error.h"
#include "msltx/ops/axes.h"

namespace py = pybind11;

namespace msltx::bindings {
namespace {

using ops::Element;
using ops::FieldInfo;
using ops::OpInfo;

std::string where(const OpInfo& info, const FieldInfo& field) {
  return concat(info.name, ": ", field.name);
}

bool is_native(const py::dtype& dtype) {
  return dtype.byteorder() == '=' || dtype.byteorder() == '|';
}

std::optional<DType> float_type(const py::dtype& dtype) {
  if (dtype.kind() == 'f' && dtype.itemsize() == 4 && is_native(dtype)) return DType::float32;
  // ml_dtypes' bfloat16 has no buffer protocol and no letter of its own: its name tells.
  if (dtype.kind() == 'V' && dtype.itemsize() == 2 &&
      dtype.attr("name").cast<std::string>() == "bfloat16") {
    return DType::bfloat16;
  }
  return std::nullopt;
}

std::string_view float_types(const FieldInfo& field) {
  return field.element == Element::float32 ? "float32" : "float32 or bfloat16";
}

std::string name_of_dtype(const py::dtype& dtype) { return py::str(dtype).cast<std::string>(); }

std::string type_name(py::handle value) {
  return py::type::handle_of(value).attr("__name__").cast<std::string>();
}

py::array as_array(py::handle value) {
  return py::module_::import("numpy").attr("asarray")(value).cast<py::array>();
}

// Integers of any type as contiguous int32; no value is changed on the way.
py::array integer_array(const OpInfo& info, const FieldInfo& field, py::handle value) {
  const bool is_array = py::isinstance<py::array>(value);
  const bool is_scalar = py::hasattr(value, "dtype") || PyLong_CheckExact(value.ptr());
  if (!is_array && !is_scalar && !PyList_Check(value.ptr()) && !PyTuple_Check(value.ptr())) {
    throw ValueError(concat(where(info, field), " is a ", type_name(value),
                            "; expected a NumPy array or list of integers"));
  }
  py::array array;
  try {
    array = as_array(value);
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_ValueError) && !error.matches(PyExc_OverflowError)) throw;
    throw ValueError(concat(where(info, field), " is no array of integers: ",
                            py::str(error.value()).cast<std::string>()));
  }
  const bool from_empty_list = !is_array && array.size() == 0;
  if (array.dtype().kind() != 'i' && array.dtype().kind() != 'u' && !from_empty_list) {
    throw ValueError(
        concat(where(info, field), " is ", name_of_dtype(array.dtype()), "; expected integers"));
  }
  const py::dtype int32 = py::dtype::of<int32_t>();
  if (array.size() > 0 && !array.dtype().equal(int32)) {
    for (const char* end : {"min", "max"}) {
      const py::object extreme = array.attr(end)().attr("item")();
      const py::int_ low(std::numeric_limits<int32_t>::min());
      const py::int_ high(std::numeric_limits<int32_t>::max());
      if (extreme < low || extreme > high) {
        throw ValueError(concat(where(info, field), " has ", py::str(extreme).cast<std::string>(),
                                "; it must fit int32, ", std::numeric_limits<int32_t>::min(),
                                " to ", std::numeric_limits<int32_t>::max()));
      }
    }
  }
  return array.attr("astype")(int32, py::arg("order") = "C", py::arg("copy") = false)
      .cast<py::array>();
}

// Row-wise views are promised to kernels for rows and for tensors of sequences; weights are whole.
bool may_be_strided(const FieldInfo& field) {
  return ops::has_row_axis(field.axes) || field.axes.starts_with("B ") ||
         field.axes.starts_with("M ");
}

[[noreturn]] void refuse_layout(const OpInfo& info, const FieldInfo& field, const std::string& what,
                                std::string_view expected) {
  throw ValueError(concat(where(info, field), " ", what, "; expected ", expected,
                          ", which numpy.ascontiguousarray gives"));
}

// Strides in elements, those of single entries made what a contiguous tensor has; throws for a
// layout in which elements are misaligned or share memory.
Shape element_strides(const OpInfo& info, const FieldInfo& field, const py::array& array,
                      const Shape& shape) {
  const auto item = static_cast<int64_t>(array.itemsize());
  if ((array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) == 0) {
    refuse_layout(info, field, "is misaligned in memory", "an aligned array");
  }
  const size_t rank = shape.size();
  Shape strides(rank);
  int64_t packed = 1;
  bool contiguous = true;
  for (size_t i = rank; i-- > 0;) {
    const auto bytes = static_cast<int64_t>(array.strides(static_cast<py::ssize_t>(i)));
    if (shape[i] > 1 && bytes % item != 0) {
      refuse_layout(info, field, "has elements between elements", "a contiguous array");
    }
    strides[i] = shape[i] > 1 && array.size() > 0 ? bytes / item : packed;
    contiguous &= strides[i] == packed;
    packed *= std::max<int64_t>(shape[i], 1);
  }
  if (contiguous) return strides;
  const auto shown = [&] { return concat("has strides ", to_string(strides), " in elements"); };
  if (!may_be_strided(field)) refuse_layout(info, field, shown(), "a C-contiguous array");
  if (rank > 0 && strides[rank - 1] != 1) {
    refuse_layout(info, field, shown(), "a contiguous last dimension");
  }
  // From the smallest stride to the largest, each must step over all that the smaller ones reach.
  std::vector<size_t> order(rank);
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t i, size_t j) { return strides[i] < strides[j]; });
  int64_t reach = 0;
  for (size_t i : order) {
    if (shape[i] < 2) continue;
    if (strides[i] <= reach) {
      refuse_layout(info, field, shown(), "positive strides and elements that share no memory");
    }
    reach += (shape[i] - 1) * strides[i];
  }
  return strides;
}

}  // namespace

Shape shape_of(const py::array& array) {
  return Shape(array.shape(), array.shape() + array.ndim());
}

py::dtype dtype_of_field(Element element, const py::dtype& compute) {
  switch (element) {
    case Element::compute:
    case Element::wide:
      return compute;
    case Element::float32:
      return py::dtype::of<float>();
    case Element::int32:
      return py::dtype::of<int32_t>();
  }
  return compute;
}

py::array input_array(const OpInfo& info, const FieldInfo& field, py::handle value) {
  if (field.element == Element::int32) return integer_array(info, field, value);
  // A NumPy scalar is what arithmetic makes of an array without dimensions.
  const bool is_array = py::isinstance<py::array>(value);
  if (!is_array && !(py::hasattr(value, "dtype") && py::hasattr(value, "ndim"))) {
    throw ValueError(concat(where(info, field), " is a ", type_name(value),
                            "; expected a NumPy array of ", float_types(field)));
  }
  py::array array = is_array ? py::reinterpret_borrow<py::array>(value) : as_array(value);
  const auto type = float_type(array.dtype());
  if (!type || (field.element == Element::float32 && *type != DType::float32)) {
    throw ValueError(concat(where(info, field), " is ", name_of_dtype(array.dtype()), "; expected ",
                            float_types(field)));
  }
  return array;
}

py::array output_array(const OpInfo& info, const FieldInfo& field, py::handle value,
                       const py::dtype& dtype, const Shape& shape) {
  const std::string name = concat(info.name, ": out= for ", field.name);
  if (!py::isinstance<py::array>(value)) {
    throw ValueError(concat(name, " is a ", type_name(value), "; expected a NumPy array of ",
                            name_of_dtype(dtype)));
  }
  auto array = py::reinterpret_borrow<py::array>(value);
  if (!array.dtype().equal(dtype)) {
    throw ValueError(
        concat(name, " is ", name_of_dtype(array.dtype()), "; expected ", name_of_dtype(dtype)));
  }
  const Shape found = shape_of(array);
  const bool one_element = shape.empty() && field.axes == "1" && found == Shape{1};
  if (found != shape && !one_element) {
    throw ValueError(
        concat(name, " has shape ", to_string(found), "; expected ", to_string(shape)));
  }
  if (!array.writeable()) {
    throw ValueError(concat(name, " is read-only; expected a writable array"));
  }
  return array;
}

Tensor tensor_of(const OpInfo& info, const FieldInfo& field, const py::array& array,
                 std::optional<Shape>& leading) {
  Shape shape = shape_of(array);
  Shape strides = element_strides(info, field, array, shape);
  const size_t rank = ops::parse_axes(field.axes).size();
  if (ops::has_row_axis(field.axes)) {
    if (shape.size() + 1 < rank) {
      throw ValueError(concat(where(info, field), " has shape ", to_string(shape), "; expected (",
                              field.axes, "), N any number of dimensions"));
    }
    const size_t rows = shape.size() - (rank - 1);
    const Shape found(shape.begin(), shape.begin() + static_cast<ptrdiff_t>(rows));
    if (leading && found != *leading) {
      throw ValueError(concat(where(info, field), " has shape ", to_string(shape), "; expected (",
                              field.axes, ") with N = ", to_string(*leading),
                              " as in the arguments before it"));
    }
    leading = found;
    int64_t count = 1, pitch = rank == 2 ? shape[rows] : 1;
    for (size_t i = 0; i < rows; ++i) {
      if (shape[i] > 1) pitch = strides[i];  // the innermost with more than one entry stays
    }
    for (size_t i = rows; i-- > 0;) {
      if (shape[i] > 1 && count > 0 && strides[i] != pitch * count) {
        refuse_layout(info, field, concat("has strides ", to_string(strides), " in elements"),
                      "rows at one distance from each other");
      }
      count *= shape[i];
    }
    if (rank == 1 && count > 1 && pitch != 1) {
      refuse_layout(info, field, concat("has strides ", to_string(strides), " in elements"),
                    "a C-contiguous array");
    }
    shape.erase(shape.begin(), shape.begin() + static_cast<ptrdiff_t>(rows));
    strides.erase(strides.begin(), strides.begin() + static_cast<ptrdiff_t>(rows));
    shape.insert(shape.begin(), count);
    strides.insert(strides.begin(), pitch);
  } else if (shape.empty() && (field.axes == "1" || field.axes == "M")) {
    shape = {1};
    strides = {1};
  }
  if (shape.size() > static_cast<size_t>(Tensor::kMaxRank)) {
    throw ValueError(concat(where(info, field), " has shape ", to_string(shape_of(array)),
                            "; expected ", rank, " dimensions (", field.axes, ")"));
  }
  Tensor tensor;
  tensor.buffer = {Memory::host, const_cast<void*>(array.data()), 0,
                   static_cast<int64_t>(array.nbytes())};
  tensor.dtype = field.element == Element::int32 ? DType::int32 : *float_type(array.dtype());
  tensor.rank = static_cast<int>(shape.size());
  std::copy(shape.begin(), shape.end(), tensor.shape.begin());
  std::copy(strides.begin(), strides.end(), tensor.strides.begin());
  return tensor;
}

}  // namespace msltx::bindings
