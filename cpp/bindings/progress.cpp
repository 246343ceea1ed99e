#include "bindings/progress.h"

#include <chrono>
#include <string>

namespace py = pybind11;

namespace msltx::bindings {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kInterval = std::chrono::milliseconds(50);

}  // namespace

text::ProgressFn progress_function(const py::object& callback) {
  if (callback.is_none()) return {};
  // A bare handle: the function is copied and dropped where the GIL is not held.
  const py::handle call = callback;
  return
      [call, last = Clock::time_point{}, stage = std::string()](const text::Progress& p) mutable {
        const auto now = Clock::now();
        if (now - last < kInterval && p.done != p.total && p.stage == stage) return;
        last = now;
        stage = p.stage;
        const py::gil_scoped_acquire gil;
        call(py::str(p.stage.data(), p.stage.size()), p.done, p.total);
      };
}

}  // namespace msltx::bindings
