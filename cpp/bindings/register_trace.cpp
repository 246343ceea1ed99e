// msltx._core.GPT.trace: every op of a forward with copies of what it wrote. msltx/_trace.py,
// behind msltx.GPT.trace, gives them their names.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/call.h"
#include "bindings/register.h"
#include "msltx/base/arena.h"
#include "msltx/base/error.h"
#include "msltx/model/gpt.h"
#include "msltx/ops/trace.h"

namespace py = pybind11;

namespace msltx::bindings {
namespace {

using model::GPT;
using ops::AttributeInfo;
using ops::AttributeType;
using ops::OpInfo;

py::object value_of(const void* op, const AttributeInfo& attribute) {
  switch (attribute.type) {
    case AttributeType::number:
      return py::float_(OpInfo::value<float>(op, attribute));
    case AttributeType::number64:
      return py::float_(OpInfo::value<double>(op, attribute));
    case AttributeType::integer:
      return py::int_(OpInfo::value<int64_t>(op, attribute));
    case AttributeType::boolean:
      return py::bool_(OpInfo::value<bool>(op, attribute));
    case AttributeType::choice:
      return py::str(std::string(attribute.choices[OpInfo::value<size_t>(op, attribute)]));
  }
  return py::none();
}

py::dict described(const ops::TracedOp& traced) {
  py::dict tensors, attributes, out;
  for (const ops::TracedTensor& t : traced.tensors) {
    py::array array(numpy_dtype(t.dtype), std::vector<py::ssize_t>(t.shape.begin(), t.shape.end()));
    std::memcpy(array.mutable_data(), t.values.data(), t.values.size());
    tensors[py::str(std::string(t.field->name))] = array;
  }
  for (const AttributeInfo& attribute : traced.info->attributes) {
    attributes[py::str(std::string(attribute.name))] = value_of(traced.op.data(), attribute);
  }
  out["op"] = traced.info->name;
  out["scope"] = traced.scope;
  out["tensors"] = tensors;
  out["attributes"] = attributes;
  return out;
}

// Lets the model's ops be seen by another interceptor while it lives.
class Seen {
 public:
  Seen(GPT& gpt, ops::Interceptor* by) : gpt_(gpt), before_(gpt.set_interceptor(by)) {}
  ~Seen() { gpt_.set_interceptor(before_); }
  Seen(const Seen&) = delete;
  Seen& operator=(const Seen&) = delete;

 private:
  GPT& gpt_;
  ops::Interceptor* before_;
};

// Every op of trunk and head, in order; the inputs too of those in `with_inputs`.
py::list trace(GPT& gpt, const py::array& tokens, const std::set<std::string>& with_inputs) {
  const Tensor ids = borrow(tokens, DType::int32, "tokens");
  if (ids.rank != 2) {
    throw ValueError(concat("tokens has ", ids.rank, " dimensions; expected (batch, length)"));
  }
  const Exclusive::Guard guard(gpt.exclusive(), "the model");
  ops::Tracer tracer(
      [&](const OpInfo& info) { return with_inputs.contains(std::string(info.name)); },
      gpt.interceptor());
  {
    const Seen seen(gpt, &tracer);
    run_released([&] {
      const Tensor hidden = gpt.forward(ids.data<int32_t>(), {ids.dim(0), ids.dim(1)});
      const int64_t rows = ids.size(), V = gpt.config().vocab_size;
      Arena arena(Arena::aligned(rows * V * size_of(DType::float32)));
      gpt.logits(hidden, arena.allocate(DType::float32, {rows, V}));
    });
  }
  py::list all;
  for (const ops::TracedOp& traced : tracer.ops()) all.append(described(traced));
  return all;
}

}  // namespace

void register_trace(py::module_& m) {
  auto gpt = py::reinterpret_borrow<py::class_<GPT>>(m.attr("GPT"));
  gpt.def("trace", &trace, py::arg("tokens"), py::arg("with_inputs"));
}

}  // namespace msltx::bindings
