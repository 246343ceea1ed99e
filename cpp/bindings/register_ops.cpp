// The ops as Python sees them: what each is, on which backend it runs, and one function that calls
// any of them. msltx.kernels, its stub and docs/kernels.md are made from this.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <charconv>
#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "bindings/op_call.h"
#include "bindings/register.h"
#include "msltx/base/error.h"
#include "msltx/ops/axes.h"
#include "msltx/ops/backend.h"

namespace py = pybind11;

namespace msltx::bindings {
namespace {

using ops::AttributeInfo;
using ops::AttributeType;
using ops::Element;
using ops::FieldInfo;
using ops::OpInfo;
using ops::Role;

std::string_view name_of(Role role) {
  switch (role) {
    case Role::reads:
      return "reads";
    case Role::writes:
      return "writes";
    case Role::updates:
      return "updates";
    case Role::accumulates:
      return "accumulates";
  }
  return "";
}

std::string_view name_of(Element element) {
  switch (element) {
    case Element::compute:
      return "compute";
    case Element::wide:
      return "wide";
    case Element::float32:
      return "float32";
    case Element::int32:
      return "int32";
  }
  return "";
}

std::string_view name_of(AttributeType type) {
  switch (type) {
    case AttributeType::number:
    case AttributeType::number64:
      return "float";
    case AttributeType::integer:
      return "int";
    case AttributeType::boolean:
      return "bool";
    case AttributeType::choice:
      return "str";
  }
  return "";
}

// The number a person would write for a float: 1e-05, not 9.999999747378752e-06.
double shortest(double value) {
  std::array<char, 32> text;
  const auto end =
      std::to_chars(text.data(), text.data() + text.size(), static_cast<float>(value)).ptr;
  double result = 0;
  std::from_chars(text.data(), end, result);
  return result;
}

py::object default_of(const AttributeInfo& attribute) {
  if (attribute.is_required) return py::none();
  switch (attribute.type) {
    case AttributeType::number:
      return py::float_(shortest(attribute.default_value));
    case AttributeType::number64:
      return py::float_(attribute.default_value);
    case AttributeType::integer:
      return py::int_(static_cast<int64_t>(attribute.default_value));
    case AttributeType::boolean:
      return py::bool_(attribute.default_value != 0);
    case AttributeType::choice:
      return py::str(std::string(attribute.choices[static_cast<size_t>(attribute.default_value)]));
  }
  return py::none();
}

std::string range_of(const FieldInfo& field) {
  if (field.limit.empty()) return "";
  return concat("in [0, ", field.limit, field.limit_included ? "]" : ")",
                field.or_attribute.empty() ? "" : " or ", field.or_attribute);
}

py::dict describe(const OpInfo& info) {
  py::list fields, attributes;
  for (const FieldInfo& field : info.fields) {
    py::dict d;
    d["name"] = field.name;
    d["role"] = name_of(field.role);
    d["axes"] = field.axes;
    d["dtype"] = field.chosen_by.empty() ? name_of(field.element) : "chosen";
    d["doc"] = field.doc;
    d["range"] = range_of(field);
    d["optional"] = field.is_optional;
    d["condition"] = field.condition;
    d["may_alias"] = field.may_alias;
    fields.append(d);
  }
  for (const AttributeInfo& attribute : info.attributes) {
    py::dict d;
    d["name"] = attribute.name;
    d["type"] = name_of(attribute.type);
    d["doc"] = attribute.doc;
    d["range"] = attribute.range();
    d["default"] = default_of(attribute);
    d["required"] = attribute.is_required;
    d["choices"] = attribute.choices;
    attributes.append(d);
  }
  py::dict d;
  d["name"] = info.name;
  d["summary"] = info.summary;
  d["fields"] = fields;
  d["attributes"] = attributes;
  return d;
}

py::list describe_ops() {
  py::list all;
  for (const OpInfo& info : ops::all_ops()) all.append(describe(info));
  return all;
}

// Operations and bytes of an op in float32 whose tensors, optional ones too, have these sizes by
// axis letter; attributes have their defaults.
std::pair<double, double> cost(const OpInfo& info, const std::map<std::string, int64_t>& sizes) {
  std::vector<std::max_align_t> op(info.size / sizeof(std::max_align_t) + 1);
  info.construct(op.data());
  for (const FieldInfo& field : info.fields) {
    std::vector<int64_t> shape;
    for (const auto& factors : ops::parse_axes(field.axes)) {
      int64_t size = 1;
      for (const auto& factor : factors) {
        const auto found = sizes.find(std::string(factor));
        size *= found != sizes.end() ? found->second : std::stoll(std::string(factor));
      }
      shape.push_back(size);
    }
    const DType dtype = field.element == Element::int32 ? DType::int32 : DType::float32;
    OpInfo::tensor(op.data(), field) = Tensor::host(op.data(), dtype, shape);  // never read
  }
  return {info.flops(op.data()), info.bytes(op.data())};
}

py::list axis_letters() {
  py::list all;
  for (const auto& [letter, meaning] : ops::kAxisLetters) {
    all.append(py::make_tuple(letter, meaning));
  }
  return all;
}

// The compute types in which a backend itself has each op, and where bfloat16 means widened copies.
py::list describe_backends() {
  py::list all;
  for (const ops::Backend* backend : ops::backends()) {
    py::dict by_op;
    py::list widened;
    for (const OpInfo& info : ops::all_ops()) {
      if (backend->widens(info)) widened.append(info.name);
      py::list dtypes;
      for (DType dtype : {DType::float32, DType::bfloat16}) {
        if (backend->supports(info, dtype)) dtypes.append(msltx::name_of(dtype));
      }
      by_op[py::str(std::string(info.name))] = py::tuple(dtypes);
    }
    py::dict d;
    d["name"] = backend->name();
    d["description"] = backend->description();
    d["supports"] = by_op;
    d["widened"] = widened;
    all.append(d);
  }
  return all;
}

}  // namespace

void register_ops(py::module_& m) {
  m.def(
      "call_op",
      [](size_t index, const py::tuple& inputs, const py::dict& named) {
        if (index >= ops::kOpCount) throw ValueError(concat("there is no op ", index));
        return call_op(ops::op_info(index), inputs, named);
      },
      py::arg("index"), py::arg("inputs"), py::arg("named"), "Call the op at this index of ops().");
  m.def("ops", &describe_ops, "Every op: its fields in C++ order, and its attributes.");
  m.def(
      "op_cost",
      [](size_t index, const std::map<std::string, int64_t>& sizes) {
        if (index >= ops::kOpCount) throw ValueError(concat("there is no op ", index));
        return cost(ops::op_info(index), sizes);
      },
      py::arg("index"), py::arg("sizes"),
      "Operations and bytes in float32 of the op at this index, given a size for every axis "
      "letter.");
  m.def("axis_letters", &axis_letters, "The letters of shapes, each with its meaning.");
  m.def("backends", &describe_backends,
        "Every backend of this build, the slowest first, with the dtypes each op takes there.");
  m.def(
      "default_backend", [] { return ops::default_backend().name(); },
      "The backend in use where none is named: MSLTX_BACKEND, or else the fastest.");
  m.def("_last_kernel", &last_kernel,
        "Names of the op that call_op ran last and of the backend whose kernel ran.");
}

}  // namespace msltx::bindings
