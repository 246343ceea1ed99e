// How a binding calls the engine: the GIL released, the work on the global executor, signals seen.
#pragma once

#include <pybind11/pybind11.h>

#include <optional>
#include <type_traits>
#include <utility>

#include "msltx/base/executor.h"

namespace msltx::bindings {

// Runs `work` on the executor without the GIL and returns what it returns. `work` must neither
// touch nor return Python objects. While it runs, the calling thread looks for signals every 100 ms
// (Python looks on its main thread only); when a handler raises, as Ctrl-C does, the work is
// cancelled and the handler's exception is raised here once the work has ended, even if it ended
// without noticing.
template <class F>
auto run_released(F&& work) {
  namespace py = pybind11;
  using Result = std::invoke_result_t<F&>;
  std::optional<py::error_already_set> raised;
  Executor* executor = nullptr;
  const auto poll = [&] {
    py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() == 0) return;
    if (raised) {
      PyErr_Clear();  // a second Ctrl-C: the first one is already on its way
    } else {
      raised.emplace();
    }
    executor->cancel();
  };
  const auto run = [&](const auto& job) {
    try {
      py::gil_scoped_release released;
      executor = &Executor::global();
      executor->run(job, poll);
    } catch (...) {
      if (!raised) throw;
    }
    if (raised) throw std::move(*raised);
  };
  if constexpr (std::is_void_v<Result>) {
    run([&] { work(); });
  } else {
    std::optional<Result> result;
    run([&] { result.emplace(work()); });
    return std::move(*result);
  }
}

}  // namespace msltx::bindings
