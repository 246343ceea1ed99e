#include "bindings/arrays.h"

#include "msltx/base/error.h"

namespace py = pybind11;

namespace msltx::bindings {

Tensor borrow(const py::array& array, DType dtype, const std::string& what) {
  const std::vector<int64_t> shape(array.shape(), array.shape() + array.ndim());
  const std::string found = py::str(array.dtype());
  if (found != name_of(dtype)) {
    throw ValueError(concat(what, " has dtype ", found, "; expected ", name_of(dtype)));
  }
  if (!(array.flags() & py::array::c_style)) {
    throw ValueError(concat(what, " of shape ", to_string(shape),
                            " is not C-contiguous; numpy.ascontiguousarray makes it so"));
  }
  if (!(array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_)) {
    throw ValueError(concat(what, " of shape ", to_string(shape),
                            " does not lie at a multiple of its element size; a copy does"));
  }
  if (array.ndim() > Tensor::kMaxRank) {
    throw ValueError(
        concat(what, " has ", array.ndim(), " dimensions; the limit is ", Tensor::kMaxRank));
  }
  return Tensor::host(const_cast<void*>(array.data()), dtype, shape);
}

py::array view_of(const Tensor& tensor, const py::object& owner) {
  std::vector<py::ssize_t> shape, strides;
  for (int i = 0; i < tensor.rank; ++i) {
    shape.push_back(tensor.dim(i));
    strides.push_back(tensor.stride(i) * size_of(tensor.dtype));
  }
  py::array_t<float> array(shape, strides, tensor.data(), owner);
  array.attr("flags").attr("writeable") = false;
  return array;
}

py::dtype numpy_dtype(DType dtype) {
  if (dtype == DType::bfloat16) {
    return py::dtype::from_args(py::module_::import("ml_dtypes").attr("bfloat16"));
  }
  return py::dtype(std::string(name_of(dtype)));
}

DType compute_type_named(const std::string& name) {
  for (DType dtype : {DType::float32, DType::bfloat16}) {
    if (name == name_of(dtype)) return dtype;
  }
  throw ValueError(concat("dtype is ", name, "; it takes float32 or bfloat16"));
}

void announce_conversion(const model::GPT& gpt) {
  static bool said = false;  // under the GIL
  if (said || gpt.dtype() != DType::bfloat16 || gpt.backend().has_bfloat16_products()) return;
  said = true;
  py::module_::import("logging").attr("getLogger")("msltx").attr("warning")(
      concat("backend ", gpt.backend().name(),
             " has no bfloat16 products on this machine; they are computed in float32"));
}

py::array_t<float> new_array(const std::vector<int64_t>& shape) {
  return py::array_t<float>(std::vector<py::ssize_t>(shape.begin(), shape.end()));
}

}  // namespace msltx::bindings
