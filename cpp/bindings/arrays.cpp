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

py::array_t<float> new_array(const std::vector<int64_t>& shape) {
  return py::array_t<float>(std::vector<py::ssize_t>(shape.begin(), shape.end()));
}

}  // namespace msltx::bindings
