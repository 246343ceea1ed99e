// Saving and loading of models and training runs.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "bindings/arrays.h"
#include "bindings/call.h"
#include "bindings/register.h"
#include "msltx/base/error.h"
#include "msltx/exchange/llama2c.h"
#include "msltx/exchange/model_io.h"
#include "msltx/train/train_step.h"

namespace py = pybind11;

namespace msltx::bindings {
namespace {

using model::GPT;
using train::TrainStep;

std::unique_ptr<GPT> load_model(const std::string& path, const std::string& dtype,
                                const std::optional<std::string>& backend, int64_t memory_limit,
                                std::optional<bool> diagnostic) {
  model::GPTOptions options;
  options.dtype = compute_type_named(dtype);
  if (backend) options.backend = &ops::backend(*backend);
  options.memory_limit = memory_limit;
  options.diagnostic = diagnostic;
  auto gpt = run_released([&] { return exchange::load_model(path, options); });
  announce_conversion(*gpt);
  return gpt;
}

std::unique_ptr<GPT> load_llama2c(const std::string& path) {
  return run_released([&] { return exchange::load_llama2c(path, {}); });
}

std::string save_checkpoint(TrainStep& step, const std::string& run,
                            const std::string& tokenizer_json, const std::string& state, bool best,
                            int64_t keep) {
  const Exclusive::Guard guard(step.model().exclusive(), "the model");
  // Not run_released: a Ctrl-C that asks for this save must not cut it short.
  py::gil_scoped_release released;
  const auto parameters = exchange::named_parameters(step.model());
  const auto moments = exchange::named_moments(step.model(), step.optimizer());
  nlohmann::json fields = nlohmann::json::parse(state);
  fields["optimizer_steps"] = step.optimizer().steps();
  const Path path = exchange::save_checkpoint(
      run, step.next_step(), {step.model().config(), parameters, tokenizer_json, moments, fields},
      {best, keep});
  return path.string();
}

// Parameters, moments, and both counters; returns the rest of the state as JSON.
std::string restore_checkpoint(TrainStep& step, const std::string& path) {
  const Exclusive::Guard guard(step.model().exclusive(), "the model");
  return run_released([&] {
    const exchange::Checkpoint checkpoint = exchange::load_checkpoint(path);
    if (!(checkpoint.model.config == step.model().config())) {
      throw ValueError(concat(path,
                              " holds a model of another configuration than the one to resume: ",
                              model::differences(checkpoint.model.config, step.model().config())));
    }
    exchange::restore_parameters(checkpoint.model.weights, step.model());
    exchange::restore_moments(checkpoint.optimizer, step.model(), step.optimizer());
    const auto steps = checkpoint.state.find("optimizer_steps");
    if (steps == checkpoint.state.end() || !steps->is_number_integer()) {
      throw FileError(concat(path, ": state.json has no optimizer_steps"));
    }
    step.optimizer().set_steps(steps->get<int64_t>());
    step.set_next_step(checkpoint.step);
    return checkpoint.state.dump();
  });
}

}  // namespace

void register_checkpoint(py::module_& m) {
  auto gpt = py::reinterpret_borrow<py::class_<GPT>>(m.attr("GPT"));
  gpt.def(
      "save",
      [](GPT& model, const std::string& path, const std::string& tokenizer_json) {
        const Exclusive::Guard guard(model.exclusive(), "the model");
        run_released([&] { exchange::save_model(path, model, tokenizer_json); });
      },
      py::arg("path"), py::arg("tokenizer_json") = "");
  gpt.def_static("load", &load_model, py::arg("path"), py::kw_only(), py::arg("dtype") = "float32",
                 py::arg("backend") = py::none(), py::arg("memory_limit") = 0,
                 py::arg("diagnostic") = py::none());
  gpt.def_static("load_llama2c", &load_llama2c, py::arg("path"));
  m.def("save_checkpoint", &save_checkpoint, py::arg("step"), py::arg("run"), py::kw_only(),
        py::arg("tokenizer_json"), py::arg("state"), py::arg("best"), py::arg("keep"));
  m.def("restore_checkpoint", &restore_checkpoint, py::arg("step"), py::arg("path"));
  m.def(
      "write_file",
      [](const std::string& path, const std::string& text) { write_file(path, text); },
      py::arg("path"), py::arg("text"), "Write a text file whole or not at all.");
  m.def(
      "resolve_model",
      [](const std::string& path) {
        std::vector<exchange::DamagedCheckpoint> passed_over;
        const Path found = exchange::resolve_model(path, &passed_over);
        std::vector<std::pair<std::string, std::vector<std::string>>> damaged;
        for (const auto& one : passed_over) damaged.emplace_back(one.folder.string(), one.missing);
        return std::make_pair(found.string(), damaged);
      },
      py::arg("path"),
      "The folder that a model's path means, and the damaged checkpoints of a run that are newer: "
      "each with the files it lacks.");
}

}  // namespace msltx::bindings
