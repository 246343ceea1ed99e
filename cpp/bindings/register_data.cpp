// Datasets and batches; register_prepare.cpp writes them. msltx.data is the face of them.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings/call.h"
#include "bindings/register.h"
#include "bindings/token_ids.h"
#include "msltx/base/error.h"
#include "msltx/data/batches.h"
#include "msltx/data/dataset.h"

namespace py = pybind11;

namespace msltx::bindings {
namespace {

using data::Batches;
using data::BatchShape;
using data::Dataset;
using data::EvalBatches;

// tokens and targets, int32 (batch, length) each, as `fill(tokens, targets)` makes them.
template <class Fill>
std::pair<py::array_t<int32_t>, py::array_t<int32_t>> arrays(int64_t batch, int64_t length,
                                                             Fill&& fill) {
  py::array_t<int32_t> tokens({batch, length}), targets({batch, length});
  int32_t* const to = tokens.mutable_data();
  int32_t* const next = targets.mutable_data();
  const py::gil_scoped_release released;
  fill(to, next);
  return {std::move(tokens), std::move(targets)};
}

auto batch(const Dataset& self, int64_t step, int64_t batch_size, int64_t length, uint64_t seed,
           const std::string& split, int32_t pad_id) {
  const Batches batches(self.split(split), {batch_size, length, pad_id}, seed);
  return arrays(batch_size, length,
                [&](int32_t* tokens, int32_t* targets) { batches.fill(step, tokens, targets); });
}

auto window_batch(const Dataset& self, int64_t index, int64_t batch_size, int64_t length,
                  const std::string& split, int32_t pad_id) {
  const EvalBatches batches(self.split(split), {batch_size, length, pad_id});
  return arrays(batch_size, length,
                [&](int32_t* tokens, int32_t* targets) { batches.fill(index, tokens, targets); });
}

int64_t window_batches(const Dataset& self, int64_t batch_size, int64_t length,
                       const std::string& split) {
  return EvalBatches(self.split(split), {batch_size, length, 0}).batches();
}

py::array_t<int32_t> read(const Dataset& self, const std::string& split, int64_t first,
                          int64_t count) {
  const data::TokenSplit& from = self.split(split);
  if (count < 0 || count > from.tokens()) {
    throw ValueError(
        concat("count is ", count, "; the ", split, " split has ", from.tokens(), " tokens"));
  }
  std::vector<int32_t> ids(static_cast<size_t>(count));
  {
    const py::gil_scoped_release released;
    from.read(first, ids);
  }
  return id_array(std::move(ids));
}

}  // namespace

void register_data(py::module_& m) {
  const auto of_split = [](auto member) {
    return [member](const Dataset& self, const std::string& split) {
      return (self.split(split).*member)();
    };
  };
  py::class_<Dataset>(m, "Dataset")
      .def(py::init([](const Path& path) { return std::make_unique<Dataset>(path); }),
           py::arg("path"))
      .def_static(
          "foreign",
          [](const Path& path, const text::Tokenizer& tokenizer) {
            return std::make_unique<Dataset>(Dataset::foreign(path, tokenizer));
          },
          py::arg("path"), py::arg("tokenizer"))
      .def_property_readonly("path", [](const Dataset& self) { return self.path(); })
      .def_property_readonly("vocab_size", &Dataset::vocab_size)
      .def_property_readonly("eos_id", &Dataset::eos_id)
      .def_property_readonly("meta_json", &Dataset::meta_json)
      .def("tokens", of_split(&data::TokenSplit::tokens), py::arg("split"))
      .def("documents", of_split(&data::TokenSplit::documents), py::arg("split"))
      .def("bytes", of_split(&data::TokenSplit::bytes), py::arg("split"))
      .def("batch", &batch, py::arg("step"), py::arg("batch_size"), py::arg("length"),
           py::arg("seed"), py::arg("split"), py::arg("pad_id"))
      .def("window_batches", &window_batches, py::arg("batch_size"), py::arg("length"),
           py::arg("split"))
      .def("window_batch", &window_batch, py::arg("index"), py::arg("batch_size"),
           py::arg("length"), py::arg("split"), py::arg("pad_id"))
      .def("read", &read, py::arg("split"), py::arg("first"), py::arg("count"))
      .def("verify", [](const Dataset& self) { run_released([&] { self.verify(); }); });
}

}  // namespace msltx::bindings
