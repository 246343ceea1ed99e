// What the machine can do at best: shares of peak and floor are taken of these.
#include <pybind11/pybind11.h>

#include "bindings/call.h"
#include "bindings/register.h"
#include "msltx/base/error.h"
#include "msltx/ops/backend.h"
#include "msltx/ops/bandwidth.h"

namespace py = pybind11;

namespace msltx::bindings {
namespace {

double matrix_peak(const std::string& dtype) {
  if (dtype != name_of(DType::float32) && dtype != name_of(DType::bfloat16)) {
    throw ValueError(concat("dtype is ", dtype, "; it takes float32 or bfloat16"));
  }
  const DType type = dtype == name_of(DType::float32) ? DType::float32 : DType::bfloat16;
  return run_released([&] { return ops::default_backend().matrix_peak(Executor::global(), type); });
}

}  // namespace

void register_peaks(py::module_& m) {
  m.def("matrix_peak", &matrix_peak, py::arg("dtype") = "float32",
        R"(Measure the machine's matrix peak with the threads in use.

Parameters
----------
dtype : str
    "float32" or "bfloat16".

Returns
-------
float
    FLOP/s: the best of ten products of 2048 x 2048 x 2048 with a packed weight; 0 where the
    backend in use has no fast products of this type.

Raises
------
InvalidValueError
    For another dtype.)");
  m.def(
      "read_bandwidth",
      [] { return run_released([] { return ops::read_bandwidth(Executor::global()); }); },
      R"(Measure the machine's read bandwidth with the threads in use.

Returns
-------
float
    Bytes/s: the best of ten reads of 1 GiB, which are allocated meanwhile.)");
}

}  // namespace msltx::bindings
