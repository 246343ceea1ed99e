// msltx._core.generate_tokens: what msltx.generate drives.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>

#include "bindings/arrays.h"
#include "bindings/call.h"
#include "bindings/register.h"
#include "msltx/base/error.h"
#include "msltx/generate/generate.h"

namespace py = pybind11;

namespace msltx::bindings {
namespace {

py::dict generate_tokens(model::GPT& gpt, const py::array& prompt, int64_t max_tokens,
                         double temperature, int64_t top_k, double top_p, uint64_t seed,
                         const std::vector<int32_t>& stop_tokens,
                         const std::optional<py::function>& on_token) {
  const Tensor ids = borrow(prompt, DType::int32, "the prompt");
  if (ids.rank != 1) {
    throw ValueError(concat("the prompt has ", ids.rank, " dimensions; expected one"));
  }
  const std::span<const int32_t> tokens(ids.data<int32_t>(), static_cast<size_t>(ids.size()));
  const generate::GenerateOptions options{
      max_tokens, {temperature, top_k, top_p, seed}, stop_tokens};
  std::function<bool(int32_t)> callback;
  if (on_token) {
    callback = [&](int32_t token) {
      py::gil_scoped_acquire gil;
      return (*on_token)(token).cast<bool>();
    };
  }
  gpt.exclusive().check_free("the model");
  const generate::Generation made =
      run_released([&] { return generate::generate(gpt, tokens, options, callback); });
  py::dict out;
  out["tokens"] =
      py::array_t<int32_t>(static_cast<py::ssize_t>(made.tokens.size()), made.tokens.data());
  out["finish_reason"] = std::string(generate::name_of(made.reason));
  out["prompt_tokens"] = made.prompt_tokens;
  out["prefill_seconds"] = made.prefill_seconds;
  out["decode_seconds"] = made.decode_seconds;
  return out;
}

}  // namespace

void register_generate(py::module_& m) {
  m.def("generate_tokens", &generate_tokens, py::arg("model"), py::arg("prompt"), py::kw_only(),
        py::arg("max_tokens"), py::arg("temperature"), py::arg("top_k"), py::arg("top_p"),
        py::arg("seed"), py::arg("stop_tokens"), py::arg("on_token") = py::none());
}

}  // namespace msltx::bindings
