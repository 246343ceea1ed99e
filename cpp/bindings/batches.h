// The engine's batches as Python holds them, and as a training step takes them.
#pragma once

#include <pybind11/pybind11.h>

#include <vector>

#include "msltx/data/batches.h"

namespace msltx::bindings {

struct PythonBatches {
  std::vector<pybind11::object> datasets;  // kept: the batches read from them
  data::Batches batches;
  bool inside_documents = false;
};

}  // namespace msltx::bindings
