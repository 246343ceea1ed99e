// How a binding calls the engine: the GIL released, the work on the global executor, signals seen.
#pragma once

#include <pybind11/pybind11.h>

#include <optional>
#include <type_traits>
#include <utility>

#include "msltx/base/executor.h"

namespace msltx::bindings {

// Calls wait(poll) without the GIL; it is to ask poll() every 100 ms, which looks for signals
// (Python looks on its main thread only) and says true, to stop, from when a handler has raised, as
// Ctrl-C makes it. The handler's exception is raised here once wait() has ended, even if it ended
// without noticing.
template <class Wait>
void wait_released(const Wait& wait) {
  namespace py = pybind11;
  std::optional<py::error_already_set> raised;
  const auto poll = [&] {
    py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() == 0) return raised.has_value();
    if (raised) {
      PyErr_Clear();  // a second Ctrl-C: the first one is already on its way
    } else {
      raised.emplace();
    }
    return true;
  };
  try {
    py::gil_scoped_release released;
    wait(poll);
  } catch (...) {
    if (!raised) throw;
  }
  if (raised) throw std::move(*raised);
}

// Runs `work` on the executor without the GIL and returns what it returns. `work` must neither
// touch nor return Python objects. A signal whose handler raises cancels it, or gives up its turn
// where another thread's work is under way.
template <class F>
auto run_released(F&& work) {
  using Result = std::invoke_result_t<F&>;
  const auto run = [&](const auto& job) {
    wait_released([&](const auto& poll) { Executor::global().run(job, poll); });
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
