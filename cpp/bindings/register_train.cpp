// msltx._core.AdamW and TrainStep: what msltx.optim and msltx.train drive.
#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstring>
#include <memory>

#include "bindings/arrays.h"
#include "bindings/batches.h"
#include "bindings/call.h"
#include "bindings/register.h"
#include "msltx/base/error.h"
#include "msltx/train/train_step.h"

namespace py = pybind11;

namespace msltx::bindings {
namespace {

using model::GPT;
using train::StepResult;
using train::TrainStep;

optim::AdamWOptions optimizer_options(double weight_decay, const std::pair<double, double>& betas,
                                      double eps, double grad_clip) {
  return {static_cast<float>(weight_decay), betas.first, betas.second, static_cast<float>(eps),
          static_cast<float>(grad_clip)};
}

py::dict result_dict(const StepResult& result) {
  py::dict out;
  out["step"] = result.step;
  out["loss"] = result.loss;
  out["grad_norm"] = result.grad_norm;
  out["learning_rate"] = result.learning_rate;
  out["counted"] = result.counted;
  out["skipped"] = result.skipped;
  return out;
}

// An optimizer for loops of one's own: the model's gradients are whatever its last backward left.
class Optimizer {
 public:
  Optimizer(GPT& gpt, const optim::AdamWOptions& options)
      : gpt_(gpt), adamw_(gpt.parameters().values().dim(0), gpt.parameters().decayed(), options) {}

  py::dict step(double learning_rate) {
    if (!gpt_.parameters().has_gradients()) {
      throw ValueError("the model has no gradients yet: step() comes after a backward pass");
    }
    float norm = 0, skip = 0;
    const Exclusive::Guard guard(gpt_.exclusive(), "the model");
    run_released([&] {
      ops::Stream stream = gpt_.make_stream();
      gpt_.run([&](ops::Stream& s) {
        adamw_.encode(s, gpt_.parameters().values(), gpt_.parameters().gradients(), {},
                      static_cast<float>(learning_rate), false);
      });
      stream.read(adamw_.norm(), &norm);
      stream.read(adamw_.skip(), &skip);
      adamw_.finish(skip != 0);
      gpt_.parameters().changed();
      gpt_.set_step(adamw_.steps() + 1);
    });
    py::dict out;
    out["grad_norm"] = norm;
    out["skipped"] = skip != 0;
    return out;
  }

  optim::AdamW& adamw() { return adamw_; }
  GPT& gpt() { return gpt_; }

 private:
  GPT& gpt_;
  optim::AdamW adamw_;
};

// A Python object that may be dropped by a thread without the GIL.
std::shared_ptr<py::object> held_object(py::object object) {
  return {new py::object(std::move(object)), [](py::object* o) {
            py::gil_scoped_acquire gil;
            delete o;
          }};
}

// Batches that the engine makes itself, without Python.
train::BatchSource engine_source(py::object batches, int64_t sequences, int64_t length,
                                 bool inside_documents) {
  const auto& made = batches.cast<const PythonBatches&>();
  if (inside_documents && !made.inside_documents) {
    throw ValueError("source gives no documents; a step inside documents takes them");
  }
  const data::BatchShape& shape = made.batches.shape();
  if (shape.batch_size != sequences || shape.length != length) {
    throw ValueError(concat("source gives batches of ", shape.batch_size, " x ", shape.length,
                            "; a step takes ", sequences, " x ", length));
  }
  return [held = held_object(std::move(batches)), &made](int64_t step, int32_t* tokens,
                                                         int32_t* targets, int32_t* documents) {
    made.batches.fill(step, tokens, targets, documents);
  };
}

// Calls fill(step) -> (tokens, targets), or (tokens, targets, documents), in Python.
train::BatchSource python_source(py::object fill, int64_t sequences, int64_t length) {
  const auto held = held_object(std::move(fill));
  return [held, sequences, length](int64_t step, int32_t* tokens, int32_t* targets,
                                   int32_t* documents) {
    py::gil_scoped_acquire gil;
    const py::tuple arrays = (*held)(step);
    const std::array to{tokens, targets, documents};
    constexpr std::array kNames{"the batch's tokens", "the batch's targets",
                                "the batch's documents"};
    const size_t wanted = documents ? 3 : 2;
    if (arrays.size() < wanted) {
      throw ValueError(concat("the batch has ", arrays.size(), " arrays; the step takes ", wanted));
    }
    for (size_t i = 0; i < wanted; ++i) {
      const char* what = kNames[i];
      const Tensor t = borrow(arrays[i].cast<py::array>(), DType::int32, what);
      if (t.rank != 2 || t.dim(0) != sequences || t.dim(1) != length) {
        throw ValueError(
            concat(what, " are ", to_string(t), "; expected (", sequences, ", ", length, ")"));
      }
      std::memcpy(to[i], t.data<int32_t>(), static_cast<size_t>(t.bytes()));
    }
  };
}

std::unique_ptr<TrainStep> make_train_step(GPT& gpt, int64_t batch_size, int64_t length,
                                           int64_t gradient_accumulation_steps, double weight_decay,
                                           std::pair<double, double> betas, double eps,
                                           double grad_clip, double learning_rate,
                                           double min_learning_rate, int64_t warmup_steps,
                                           int64_t max_steps, const std::string& schedule,
                                           py::object source, int64_t ignore_index, uint64_t seed,
                                           bool inside_documents) {
  const train::StepShape shape{{batch_size, length}, gradient_accumulation_steps, inside_documents};
  const auto options = optimizer_options(weight_decay, betas, eps, grad_clip);
  const optim::Schedule rates{optim::schedule_kind(schedule), learning_rate, min_learning_rate,
                              warmup_steps, max_steps};
  const int64_t sequences = batch_size * gradient_accumulation_steps;
  auto fill = py::isinstance<PythonBatches>(source)
                  ? engine_source(std::move(source), sequences, length, inside_documents)
                  : python_source(std::move(source), sequences, length);
  return run_released([&] {
    return std::make_unique<TrainStep>(gpt, shape, options, rates, std::move(fill), ignore_index,
                                       seed);
  });
}

}  // namespace

void register_train(py::module_& m) {
  py::class_<Optimizer>(m, "AdamW")
      .def(py::init([](GPT& gpt, double weight_decay, std::pair<double, double> betas, double eps,
                       double grad_clip) {
             return std::make_unique<Optimizer>(
                 gpt, optimizer_options(weight_decay, betas, eps, grad_clip));
           }),
           py::arg("model"), py::kw_only(), py::arg("weight_decay"), py::arg("betas"),
           py::arg("eps"), py::arg("grad_clip"), py::keep_alive<1, 2>())
      .def("step", &Optimizer::step, py::arg("lr"))
      .def_property_readonly("steps", [](Optimizer& o) { return o.adamw().steps(); });

  py::class_<TrainStep>(m, "TrainStep")
      .def(py::init(&make_train_step), py::arg("model"), py::kw_only(), py::arg("batch_size"),
           py::arg("length"), py::arg("gradient_accumulation_steps"), py::arg("weight_decay"),
           py::arg("betas"), py::arg("eps"), py::arg("grad_clip"), py::arg("learning_rate"),
           py::arg("min_learning_rate"), py::arg("warmup_steps"), py::arg("max_steps"),
           py::arg("schedule"), py::arg("source"), py::arg("ignore_index") = -1,
           py::arg("seed") = 0, py::arg("inside_documents") = false, py::keep_alive<1, 2>())
      .def("run",
           [](TrainStep& step) {
             // Jobs of several threads queue up; a second caller is refused before it would.
             step.model().exclusive().check_free("the model");
             return result_dict(run_released([&] { return step.run(); }));
           })
      .def_property("next_step", &TrainStep::next_step, &TrainStep::set_next_step)
      .def_property(
          "optimizer_steps", [](TrainStep& step) { return step.optimizer().steps(); },
          [](TrainStep& step, int64_t steps) { step.optimizer().set_steps(steps); })
      .def_property_readonly("counts", [](const TrainStep& step) {
        return std::make_pair(step.counts().encodes, step.counts().waits);
      });
}

}  // namespace msltx::bindings
