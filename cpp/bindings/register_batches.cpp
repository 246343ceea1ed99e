// Batches of one dataset or a mixture, and bucketed ones. msltx.data is the face of them.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings/batches.h"
#include "bindings/register.h"
#include "msltx/base/error.h"
#include "msltx/data/bucketed.h"
#include "msltx/data/dataset.h"

namespace py = pybind11;

namespace msltx::bindings {
namespace {

using data::BatchShape;
using data::Dataset;

std::unique_ptr<PythonBatches> make_batches(const std::vector<py::object>& datasets,
                                            const std::vector<double>& weights,
                                            const std::string& split, int64_t batch_size,
                                            int64_t length, uint64_t seed, const std::string& rows,
                                            bool inside_documents, int32_t pad_id) {
  const BatchShape shape{batch_size, length, pad_id};
  data::check(shape);
  const data::RowMode mode = data::row_mode_from_name(rows);
  std::vector<std::shared_ptr<const data::Sequences>> sources;
  for (const py::object& dataset : datasets) {
    sources.push_back(data::make_sequences(dataset.cast<const Dataset&>().split(split), mode,
                                           {length, pad_id}, seed, inside_documents));
  }
  std::shared_ptr<const data::Sequences> sequences;
  if (sources.size() == 1) {
    sequences = sources[0];
  } else {
    sequences = std::make_shared<data::MixedSequences>(std::move(sources), weights);
  }
  return std::make_unique<PythonBatches>(
      PythonBatches{datasets, data::Batches(std::move(sequences), shape), inside_documents});
}

py::tuple batch(const PythonBatches& self, int64_t step) {
  const BatchShape& shape = self.batches.shape();
  py::array_t<int32_t> tokens({shape.batch_size, shape.length});
  py::array_t<int32_t> targets({shape.batch_size, shape.length});
  py::array_t<int32_t> documents({self.inside_documents ? shape.batch_size : 0, shape.length});
  int32_t* const to = tokens.mutable_data();
  int32_t* const next = targets.mutable_data();
  int32_t* const of = self.inside_documents ? documents.mutable_data() : nullptr;
  {
    const py::gil_scoped_release released;
    self.batches.fill(step, to, next, of);
  }
  if (!self.inside_documents) return py::make_tuple(tokens, targets);
  return py::make_tuple(tokens, targets, documents);
}

// The split lies in the dataset, which keep_alive keeps.
class Bucketed {
 public:
  Bucketed(const Dataset& dataset, const std::string& split, int64_t batch_size, int64_t length,
           int64_t multiple, uint64_t seed, int32_t pad_id)
      : batch_size_(batch_size),
        batches_(dataset.split(split), {batch_size, length, pad_id}, multiple, seed) {}

  int64_t per_epoch() const { return batches_.per_epoch(); }

  py::tuple batch(int64_t step) const {
    const int64_t length = batches_.length(step);
    py::array_t<int32_t> tokens({batch_size_, length}), targets({batch_size_, length});
    int32_t* const to = tokens.mutable_data();
    int32_t* const next = targets.mutable_data();
    {
      const py::gil_scoped_release released;
      batches_.fill(step, to, next);
    }
    return py::make_tuple(tokens, targets);
  }

  py::dict report() const {
    const data::PaddingReport report = batches_.report();
    py::list buckets;
    for (const auto& bucket : report.buckets) {
      buckets.append(py::make_tuple(bucket.length, bucket.documents, bucket.batches));
    }
    return py::dict(py::arg("buckets") = buckets, py::arg("left_out") = report.left_out,
                    py::arg("truncated") = report.truncated, py::arg("targets") = report.targets,
                    py::arg("places") = report.places,
                    py::arg("places_unsorted") = report.places_unsorted);
  }

 private:
  int64_t batch_size_;
  data::BucketedBatches batches_;
};

}  // namespace

void register_batches(py::module_& m) {
  py::class_<PythonBatches>(m, "Batches")
      .def(py::init(&make_batches), py::kw_only(), py::arg("datasets"), py::arg("weights"),
           py::arg("split"), py::arg("batch_size"), py::arg("length"), py::arg("seed"),
           py::arg("rows"), py::arg("inside_documents"), py::arg("pad_id"))
      .def("batch", &batch, py::arg("step"))
      .def_property_readonly("per_epoch",
                             [](const PythonBatches& self) { return self.batches.per_epoch(); });

  py::class_<Bucketed>(m, "BucketedBatches")
      .def(py::init<const Dataset&, const std::string&, int64_t, int64_t, int64_t, uint64_t,
                    int32_t>(),
           py::arg("dataset"), py::kw_only(), py::arg("split"), py::arg("batch_size"),
           py::arg("length"), py::arg("multiple"), py::arg("seed"), py::arg("pad_id"),
           py::keep_alive<1, 2>())
      .def("batch", &Bucketed::batch, py::arg("step"))
      .def_property_readonly("per_epoch", &Bucketed::per_epoch)
      .def("report", &Bucketed::report);
}

}  // namespace msltx::bindings
