// Named arrays to and from safetensors files.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>

#include "bindings/arrays.h"
#include "bindings/register.h"
#include "msltx/base/error.h"
#include "msltx/exchange/safetensors.h"

namespace py = pybind11;

namespace msltx::bindings {
namespace {

using exchange::SafetensorsFile;

DType dtype_of_array(const std::string& name, const py::array& array) {
  const auto found = py::str(array.dtype()).cast<std::string>();
  for (DType dtype :
       {DType::float32, DType::bfloat16, DType::float16, DType::int32, DType::int8, DType::uint8}) {
    if (found == name_of(dtype)) return dtype;
  }
  throw ValueError(concat("array ", name, " has dtype ", found,
                          "; safetensors files of msltx take float32, bfloat16, float16, int32, "
                          "int8 and uint8"));
}

Tensor view_of_array(const std::string& name, const py::array& array) {
  if (!(array.flags() & py::array::c_style)) {
    throw ValueError(concat("array ", name, " is not C-contiguous"));
  }
  const std::vector<int64_t> shape(array.shape(), array.shape() + array.ndim());
  return Tensor::host(const_cast<void*>(array.data()), dtype_of_array(name, array), shape);
}

void write_safetensors(const std::string& path, const py::dict& arrays,
                       const exchange::Metadata& metadata) {
  std::vector<py::array> owners;
  std::vector<exchange::NamedTensor> tensors;
  for (const auto& [key, value] : arrays) {
    const auto name = py::str(key).cast<std::string>();
    if (!py::isinstance<py::array>(value)) throw ValueError(concat("array ", name, " is no array"));
    owners.push_back(py::reinterpret_borrow<py::array>(value));
    tensors.emplace_back(name, view_of_array(name, owners.back()));
  }
  py::gil_scoped_release released;
  exchange::write_safetensors(path, tensors, metadata);
}

py::tuple read_safetensors(const std::string& path) {
  auto file = [&] {
    py::gil_scoped_release released;
    return std::make_unique<SafetensorsFile>(path);
  }();
  const SafetensorsFile& f = *file;
  const py::capsule owner(file.release(), [](void* p) { delete static_cast<SafetensorsFile*>(p); });
  py::dict arrays;
  for (const std::string& name : f.names()) {
    const Tensor t = f.tensor(name);
    const std::vector<py::ssize_t> shape(t.shape.begin(), t.shape.begin() + t.rank);
    py::array array(numpy_dtype(t.dtype), shape, t.data<char>(), owner);
    array.attr("flags").attr("writeable") = false;
    arrays[py::str(name)] = array;
  }
  return py::make_tuple(arrays, f.metadata());
}

}  // namespace

void register_exchange(py::module_& m) {
  m.def("read_safetensors", &read_safetensors, py::arg("path"));
  m.def("write_safetensors", &write_safetensors, py::arg("path"), py::arg("arrays"),
        py::arg("metadata"));
}

}  // namespace msltx::bindings
