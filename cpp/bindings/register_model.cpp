// msltx._core.GPT: the model behind msltx.GPT, which says what the methods mean.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>
#include <memory>

#include "bindings/arrays.h"
#include "bindings/call.h"
#include "bindings/register.h"
#include "msltx/base/error.h"
#include "msltx/model/gpt.h"

namespace py = pybind11;

namespace msltx::bindings {
namespace {

using model::BatchShape;
using model::Draw;
using model::GPT;
using model::Keep;

BatchShape batch_shape(const Tensor& tokens, const char* what) {
  if (tokens.rank != 2) {
    throw ValueError(concat(what, " has ", tokens.rank, " dimensions; expected (batch, length)"));
  }
  return {tokens.dim(0), tokens.dim(1)};
}

std::unique_ptr<GPT> make_gpt(const model::GPTConfig& config, uint64_t seed,
                              const std::string& dtype, const std::optional<std::string>& backend,
                              int64_t memory_limit, std::optional<bool> diagnostic) {
  model::GPTOptions options;
  options.dtype = compute_type_named(dtype);
  if (backend) options.backend = &ops::backend(*backend);
  options.memory_limit = memory_limit;
  options.diagnostic = diagnostic;
  auto gpt = run_released([&] { return std::make_unique<GPT>(config, seed, options); });
  announce_conversion(*gpt);
  return gpt;
}

// Of loops of one's own: nothing is dropped without a seed.
Draw draw_of(std::optional<uint64_t> seed, int64_t step, int64_t first_sequence) {
  constexpr int64_t kMost = (int64_t{1} << 32) - 1;  // counters have 32 bits
  const auto check = [&](const char* name, int64_t value) {
    if (value < 0 || value > kMost) {
      throw ValueError(concat(name, " is ", value, "; it takes 0 to ", kMost));
    }
  };
  check("step", step);
  check("first_sequence", first_sequence);
  return {seed.has_value(), seed.value_or(0), step, first_sequence};
}

// The documents of a batch of `shape`; null where there are none.
const int32_t* documents_of(const std::optional<py::array>& documents, BatchShape shape) {
  if (!documents) return nullptr;
  const Tensor ids = borrow(*documents, DType::int32, "documents");
  if (!(batch_shape(ids, "documents") == shape)) {
    throw ValueError(concat("documents is ", to_string(ids), "; expected the shape of tokens, (",
                            shape.sequences, ", ", shape.length, ")"));
  }
  return ids.data<int32_t>();
}

// Every call enters the model alone: a second caller gets BusyError.
template <class F>
auto with_model(GPT& gpt, F&& call) {
  const Exclusive::Guard guard(gpt.exclusive(), "the model");
  return run_released(call);
}

py::array forward(GPT& gpt, const py::array& tokens, bool keep,
                  std::optional<uint64_t> dropout_seed, int64_t step, int64_t first_sequence,
                  const std::optional<py::array>& documents) {
  const Draw draw = draw_of(dropout_seed, step, first_sequence);
  const Tensor ids = borrow(tokens, DType::int32, "tokens");
  const BatchShape shape = batch_shape(ids, "tokens");
  const int32_t* const of = documents_of(documents, shape);
  py::array out(
      numpy_dtype(gpt.hidden_type()),
      std::vector<py::ssize_t>{shape.sequences, shape.length, gpt.config().embedding_dim});
  void* to = out.mutable_data();
  with_model(gpt, [&] {
    const Tensor hidden = gpt.forward(ids.data<int32_t>(), shape,
                                      keep ? Keep::for_backward : Keep::nothing, draw, of);
    std::memcpy(to, hidden.data<void>(), static_cast<size_t>(hidden.bytes()));
  });
  return out;
}

py::array_t<float> logits(GPT& gpt, const py::array& hidden) {
  const Tensor h = borrow(hidden, gpt.hidden_type(), "hidden");
  if (h.rank < 1 || h.dim(-1) != gpt.config().embedding_dim) {
    throw ValueError(concat("hidden is ", to_string(h), "; expected its last dimension to be ",
                            gpt.config().embedding_dim, ", the embedding_dim"));
  }
  std::vector<int64_t> shape(h.shape.begin(), h.shape.begin() + h.rank);
  const int64_t rows = h.size() / h.dim(-1);
  shape.back() = gpt.config().vocab_size;
  py::array_t<float> out = new_array(shape);
  const Tensor z = Tensor::host(out.mutable_data(), DType::float32, {rows, shape.back()});
  with_model(gpt, [&] { gpt.logits(h.reshape({rows, h.dim(-1)}), z); });
  return out;
}

Tensor as_rows(const Tensor& t, const char* what) {
  if (t.rank < 1 || t.size() == 0) throw ValueError(concat(what, " is empty"));
  return t.reshape({t.size() / t.dim(-1), t.dim(-1)});
}

float forward_backward(GPT& gpt, const py::array& tokens, const py::array& targets, bool accumulate,
                       double normalizer, int64_t ignore_index,
                       std::optional<uint64_t> dropout_seed, int64_t step, int64_t first_sequence,
                       const std::optional<py::array>& documents) {
  const Draw draw = draw_of(dropout_seed, step, first_sequence);
  const Tensor x = borrow(tokens, DType::int32, "tokens");
  const Tensor y = borrow(targets, DType::int32, "targets");
  const BatchShape shape = batch_shape(x, "tokens");
  if (!(batch_shape(y, "targets") == shape)) {
    throw ValueError(
        concat("targets is ", to_string(y), "; expected the shape of tokens, ", to_string(x)));
  }
  const int32_t* const of = documents_of(documents, shape);
  return with_model(gpt, [&] {
    return gpt.forward_backward(x.data<int32_t>(), y.data<int32_t>(), shape, accumulate, normalizer,
                                ignore_index, draw, of);
  });
}

double evaluate_sum(GPT& gpt, const py::array& tokens, const py::array& targets,
                    int64_t ignore_index, const std::optional<py::array>& documents) {
  const Tensor x = borrow(tokens, DType::int32, "tokens");
  const Tensor y = borrow(targets, DType::int32, "targets");
  const BatchShape shape = batch_shape(x, "tokens");
  if (!(batch_shape(y, "targets") == shape)) {
    throw ValueError(
        concat("targets is ", to_string(y), "; expected the shape of tokens, ", to_string(x)));
  }
  const int32_t* const of = documents_of(documents, shape);
  return with_model(gpt, [&] {
    return gpt.evaluate_sum(x.data<int32_t>(), y.data<int32_t>(), shape, ignore_index, of);
  });
}

// Reserves what evaluate_sum will need for batches of this shape, `ids` included: the bytes of
// their tokens and targets, which the caller is about to make.
void plan_evaluation(GPT& gpt, int64_t sequences, int64_t length) {
  const int64_t ids = 2 * sequences * length * size_of(DType::int32);
  with_model(gpt,
             [&] { gpt.plan({sequences, length}, Keep::nothing, {.optimizer = 0, .batch = ids}); });
}

void set_parameter(GPT& gpt, const std::string& name, const py::array& values) {
  model::Parameter& parameter = gpt.parameters().at(name);
  const Tensor from = borrow(values, DType::float32, name);
  if (from.rank != parameter.value.rank || from.shape != parameter.value.shape) {
    throw ValueError(
        concat(name, " is ", to_string(parameter.value), "; it was given ", to_string(from)));
  }
  with_model(gpt, [&] {
    std::memcpy(parameter.value.data(), from.data(), static_cast<size_t>(from.bytes()));
    ++parameter.weight.version;
  });
}

py::dict memory(GPT& gpt) {
  const Exclusive::Guard guard(gpt.exclusive(), "the model");
  const model::MemoryReport report = gpt.memory();
  py::dict out;
  out["parameters"] = report.parameters;
  out["gradients"] = report.gradients;
  out["optimizer"] = report.optimizer;
  out["batch"] = report.batch;
  out["activations"] = report.activations;
  out["scratch"] = report.scratch;
  out["packed"] = report.packed;
  out["total"] = report.total();
  return out;
}

py::object value(const py::object& self, const std::string& name) {
  auto& gpt = self.cast<GPT&>();
  const Exclusive::Guard guard(gpt.exclusive(), "the model");
  return view_of(gpt.parameters().at(name).value, self);
}

py::object gradient(const py::object& self, const std::string& name) {
  auto& gpt = self.cast<GPT&>();
  const Exclusive::Guard guard(gpt.exclusive(), "the model");
  const model::Parameter& parameter = gpt.parameters().at(name);
  if (!parameter.grad.defined()) {
    throw ValueError("the model has no gradients yet: they are made by the first backward pass");
  }
  return view_of(parameter.grad, self);
}

}  // namespace

void register_model(py::module_& m) {
  py::class_<GPT>(m, "GPT")
      .def(py::init(&make_gpt), py::arg("config"), py::kw_only(), py::arg("seed") = 0,
           py::arg("dtype") = "float32", py::arg("backend") = py::none(),
           py::arg("memory_limit") = 0, py::arg("diagnostic") = py::none())
      .def_property_readonly("config", &GPT::config)
      .def_property_readonly("dtype",
                             [](const GPT& gpt) { return std::string(name_of(gpt.dtype())); })
      .def_property_readonly("backend",
                             [](const GPT& gpt) { return std::string(gpt.backend().name()); })
      .def_property("diagnostic", &GPT::is_diagnostic,
                    [](GPT& gpt, bool on) { with_model(gpt, [&] { gpt.set_diagnostic(on); }); })
      .def("num_parameters", &GPT::num_parameters)
      .def("parameter_names",
           [](const GPT& gpt) {
             std::vector<std::string> names;
             for (const auto& p : gpt.parameters().list()) names.push_back(p.spec.name);
             return names;
           })
      .def("parameter", &value, py::arg("name"))
      .def("set_parameter", &set_parameter, py::arg("name"), py::arg("values"))
      .def("gradient", &gradient, py::arg("name"))
      .def("zero_gradients",
           [](GPT& gpt) {
             with_model(gpt, [&] {
               gpt.parameters().ensure_gradients();
               std::memset(gpt.parameters().gradients().data(), 0,
                           static_cast<size_t>(gpt.parameters().gradients().bytes()));
             });
           })
      .def("forward", &forward, py::arg("tokens"), py::arg("keep") = true, py::kw_only(),
           py::arg("dropout_seed") = py::none(), py::arg("step") = 0, py::arg("first_sequence") = 0,
           py::arg("documents") = py::none())
      .def("logits", &logits, py::arg("hidden"))
      .def(
          "backward_from_logits",
          [](GPT& gpt, const py::array& d_logits, bool accumulate) {
            const Tensor d = as_rows(borrow(d_logits, DType::float32, "d_logits"), "d_logits");
            with_model(gpt, [&] { gpt.backward_from_logits(d, accumulate); });
          },
          py::arg("d_logits"), py::arg("accumulate") = false)
      .def(
          "backward_from_hidden",
          [](GPT& gpt, const py::array& d_hidden, bool accumulate) {
            const Tensor d = as_rows(borrow(d_hidden, DType::float32, "d_hidden"), "d_hidden");
            with_model(gpt, [&] { gpt.backward_from_hidden(d, accumulate); });
          },
          py::arg("d_hidden"), py::arg("accumulate") = false)
      .def("forward_backward", &forward_backward, py::arg("tokens"), py::arg("targets"),
           py::arg("accumulate") = false, py::arg("normalizer") = 0.0, py::arg("ignore_index") = -1,
           py::kw_only(), py::arg("dropout_seed") = py::none(), py::arg("step") = 0,
           py::arg("first_sequence") = 0, py::arg("documents") = py::none())
      .def("evaluate_sum", &evaluate_sum, py::arg("tokens"), py::arg("targets"),
           py::arg("ignore_index") = -1, py::kw_only(), py::arg("documents") = py::none())
      .def("plan_evaluation", &plan_evaluation, py::arg("sequences"), py::arg("length"))
      .def("memory", &memory);
}

}  // namespace msltx::bindings
