#include "bindings/op_call.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/call.h"
#include "bindings/op_arrays.h"
#include "msltx/base/error.h"
#include "msltx/ops/axes.h"
#include "msltx/ops/stream.h"

namespace py = pybind11;

namespace msltx::bindings {
namespace {

using ops::AttributeInfo;
using ops::AttributeType;
using ops::Backend;
using ops::FieldInfo;
using ops::OpInfo;
using ops::Role;

bool is_input(const FieldInfo& field) {
  return field.role == Role::reads || field.role == Role::updates;
}

// What the last call ran, for tests that a chosen backend was the one.
struct LastKernel : ops::Interceptor {
  static inline std::mutex mutex;
  static inline std::optional<std::pair<std::string_view, std::string_view>> last;

  void after(const ops::Encoding& encoding) override {
    const std::lock_guard lock(mutex);
    last.emplace(encoding.info.name, encoding.backend.name());
  }
};

class OpCall {
 public:
  explicit OpCall(const OpInfo& info)
      : info_(info),
        storage_(new std::max_align_t[info.size / sizeof(std::max_align_t) + 1]),
        arrays_(info.fields.size()) {
    info.construct(op());
  }

  void bind(const py::tuple& inputs, const py::dict& named);
  void make_outputs();
  void run();
  py::object results() const;

 private:
  void* op() { return storage_.get(); }
  Tensor& tensor(const FieldInfo& field) { return OpInfo::tensor(op(), field); }
  std::optional<py::array>& array(const FieldInfo& field) {
    return arrays_[static_cast<size_t>(&field - info_.fields.data())];
  }
  [[noreturn]] void refuse_arguments(const std::string& what) const {
    throw py::type_error(concat(info_.name, "() ", what));
  }
  std::string signature() const;
  void set_input(const FieldInfo& field, py::handle value);
  void set_attribute(const AttributeInfo& attribute, py::handle value);
  void match_inputs();
  std::vector<py::object> given_outputs(size_t count, const std::string& names) const;
  void set_output(const FieldInfo& field, const py::object& given, const Shape& shape);

  const OpInfo& info_;
  std::unique_ptr<std::max_align_t[]> storage_;
  std::vector<std::optional<py::array>> arrays_;  // one per field; they keep the memory alive
  std::vector<const FieldInfo*> produced_;
  std::optional<Shape> leading_;
  ops::AxisSizes sizes_;
  py::dtype compute_ = py::dtype::of<float>();
  py::object out_ = py::none();
  const Backend* backend_ = nullptr;
};

std::string OpCall::signature() const {
  std::string text;
  const auto add = [&](std::string_view name) { text += concat(text.empty() ? "" : ", ", name); };
  for (const FieldInfo& field : info_.fields) {
    if (is_input(field)) add(field.name);
  }
  for (const AttributeInfo& attribute : info_.attributes) add(attribute.name);
  add("out");
  add("backend");
  return text;
}

void OpCall::bind(const py::tuple& inputs, const py::dict& named) {
  std::vector<bool> bound(info_.fields.size(), false);
  size_t position = 0;
  for (size_t i = 0; i < info_.fields.size() && position < inputs.size(); ++i) {
    if (!is_input(info_.fields[i])) continue;
    set_input(info_.fields[i], inputs[position++]);
    bound[i] = true;
  }
  if (position < inputs.size()) {
    refuse_arguments(concat("takes ", position, position == 1 ? " array, but " : " arrays, but ",
                            inputs.size(),
                            " were given; attributes are given by name: ", signature()));
  }
  std::vector<bool> set(info_.attributes.size(), false);
  for (const auto& [key, value] : named) {
    const auto name = key.cast<std::string>();
    const FieldInfo* field = info_.find_field(name);
    const AttributeInfo* attribute = info_.find_attribute(name);
    if (name == "out") {
      out_ = py::reinterpret_borrow<py::object>(value);
    } else if (name == "backend") {
      if (value.is_none()) continue;
      if (!py::isinstance<py::str>(value)) refuse_arguments("takes backend as a string");
      backend_ = &ops::backend(value.cast<std::string>());
    } else if (attribute) {
      set[static_cast<size_t>(attribute - info_.attributes.data())] = true;
      set_attribute(*attribute, value);
    } else if (field && is_input(*field)) {
      const auto index = static_cast<size_t>(field - info_.fields.data());
      if (bound[index]) refuse_arguments(concat("got ", name, " twice"));
      bound[index] = true;
      set_input(*field, value);
    } else {
      refuse_arguments(concat("has no argument ", name, "; it takes: ", signature()));
    }
  }
  for (const FieldInfo& field : info_.fields) {
    if (is_input(field) && !field.is_optional && !array(field)) {
      refuse_arguments(concat("needs ", field.name, "; it takes: ", signature()));
    }
  }
  for (size_t i = 0; i < set.size(); ++i) {
    if (info_.attributes[i].is_required && !set[i]) {
      refuse_arguments(concat("needs ", info_.attributes[i].name, "="));
    }
  }
  if (!backend_) backend_ = &ops::default_backend();
  match_inputs();
}

void OpCall::set_input(const FieldInfo& field, py::handle value) {
  if (value.is_none()) return;  // a missing one that is needed is found later
  array(field) = input_array(info_, field, value);
}

template <class T>
T integer(const OpInfo& info, const AttributeInfo& attribute, py::handle value) {
  const auto index = py::reinterpret_steal<py::object>(
      PyBool_Check(value.ptr()) ? nullptr : PyNumber_Index(value.ptr()));
  if (!index) {
    PyErr_Clear();
    throw ValueError(concat(info.name, ": ", attribute.name, " is ",
                            py::repr(value).cast<std::string>(), "; expected an integer"));
  }
  int overflow = 0;
  const long long result = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow != 0) {
    throw ValueError(concat(info.name, ": ", attribute.name, " is ",
                            py::str(index).cast<std::string>(), "; it must fit 64 bits"));
  }
  return static_cast<T>(result);
}

void OpCall::set_attribute(const AttributeInfo& attribute, py::handle value) {
  const auto refuse = [&](const std::string& expected) {
    throw ValueError(concat(info_.name, ": ", attribute.name, " is ",
                            py::repr(value).cast<std::string>(), "; expected ", expected));
  };
  if (value.is_none() && !attribute.is_required) return;  // the default
  switch (attribute.type) {
    case AttributeType::number:
    case AttributeType::number64: {
      const bool textual = PyBool_Check(value.ptr()) || PyUnicode_Check(value.ptr());
      const double number = textual ? -1.0 : PyFloat_AsDouble(value.ptr());
      if (textual || (number == -1.0 && PyErr_Occurred())) {
        PyErr_Clear();
        refuse("a number");
      }
      if (attribute.type == AttributeType::number64) {
        OpInfo::value<double>(op(), attribute) = number;
      } else {
        OpInfo::value<float>(op(), attribute) = static_cast<float>(number);
      }
      break;
    }
    case AttributeType::integer:
      OpInfo::value<int64_t>(op(), attribute) = integer<int64_t>(info_, attribute, value);
      break;
    case AttributeType::boolean: {
      const auto type = py::type::handle_of(value).attr("__name__").cast<std::string>();
      if (type != "bool" && type != "bool_") refuse("True or False");
      OpInfo::value<bool>(op(), attribute) = PyObject_IsTrue(value.ptr()) == 1;
      break;
    }
    case AttributeType::choice: {
      std::string names;
      for (size_t i = 0; i < attribute.choices.size(); ++i) {
        if (py::isinstance<py::str>(value) && value.cast<std::string>() == attribute.choices[i]) {
          OpInfo::value<int64_t>(op(), attribute) = static_cast<int64_t>(i);
          return;
        }
        names += concat(i == 0 ? "'" : ", '", attribute.choices[i], "'");
      }
      refuse(concat("one of ", names));
    }
  }
  ops::check_attribute(info_, op(), attribute);
}

// The sizes of axes, from attributes and inputs, and the inputs' tensors.
void OpCall::match_inputs() {
  for (const AttributeInfo& attribute : info_.attributes) {
    if (attribute.axis.empty()) continue;
    const auto size = OpInfo::value<int64_t>(op(), attribute);
    if (size != 0) sizes_.set(attribute.axis, size);
  }
  for (const FieldInfo& field : info_.fields) {
    if (!is_input(field) || !array(field)) continue;
    Tensor& t = tensor(field);
    t = tensor_of(info_, field, *array(field), leading_);
    if (t.dtype == DType::bfloat16) compute_ = array(field)->dtype();
    const Shape given = shape_of(*array(field));
    sizes_.match(info_, field, std::span(t.shape.data(), static_cast<size_t>(t.rank)), given);
  }
  int64_t partial_rows = 0;
  if (const AttributeInfo* attribute = info_.find_attribute("partial_rows")) {
    partial_rows = OpInfo::value<int64_t>(op(), *attribute);
  }
  sizes_.settle_partials(partial_rows);
}

// out= as one entry per output that is made; None where a new array is wanted.
std::vector<py::object> OpCall::given_outputs(size_t count, const std::string& names) const {
  if (out_.is_none()) return std::vector<py::object>(count, py::none());
  const bool several = py::isinstance<py::tuple>(out_) || py::isinstance<py::list>(out_);
  std::vector<py::object> given;
  if (several) {
    for (py::handle entry : out_) given.push_back(py::reinterpret_borrow<py::object>(entry));
  } else {
    given.push_back(out_);
  }
  if (given.size() != count) {
    throw ValueError(concat(info_.name, ": out= has ", given.size(),
                            given.size() == 1 ? " array" : " arrays", "; expected ", count, ": ",
                            names));
  }
  return given;
}

void OpCall::set_output(const FieldInfo& field, const py::object& given, const Shape& shape) {
  py::dtype dtype = dtype_of_field(field.element, compute_);
  if (!field.type_of.empty()) dtype = array(*info_.find_field(field.type_of))->dtype();
  if (!field.chosen_by.empty()) dtype = numpy_dtype(info_.chosen_type(op(), field));
  // A wide output is float32 where an array for that is given.
  if (field.element == ops::Element::wide && field.type_of.empty() && field.chosen_by.empty() &&
      py::isinstance<py::array>(given) &&
      py::reinterpret_borrow<py::array>(given).dtype().equal(py::dtype::of<float>())) {
    dtype = py::dtype::of<float>();
  }
  const AttributeInfo* accumulate = info_.find_attribute("accumulate");
  if (given.is_none()) {
    if (field.role == Role::accumulates && accumulate && OpInfo::value<bool>(op(), *accumulate)) {
      throw ValueError(concat(info_.name, ": accumulate is True and out= has no ", field.name,
                              "; expected the array to add to"));
    }
    array(field) = field.role == Role::updates ? array(field)->attr("copy")("C").cast<py::array>()
                                               : py::array(dtype, shape);
  } else {
    py::array made = output_array(info_, field, given, dtype, shape);
    // An updated input that is its own output is changed in place; another is copied first.
    if (field.role == Role::updates && !made.is(*array(field))) {
      py::module_::import("numpy").attr("copyto")(made, *array(field));
    }
    array(field) = std::move(made);
  }
  tensor(field) = tensor_of(info_, field, *array(field), leading_);
}

void OpCall::make_outputs() {
  std::string names;
  for (const FieldInfo& field : info_.fields) {
    if (!field.is_output() || !info_.meets_condition(op(), field)) continue;
    produced_.push_back(&field);
    names += concat(names.empty() ? "" : ", ", field.name);
  }
  const auto given = given_outputs(produced_.size(), names);
  for (size_t i = 0; i < produced_.size(); ++i) {
    const FieldInfo& field = *produced_[i];
    Shape shape = sizes_.shape_of(info_, field);
    if (field.axes == "1") {
      shape.clear();
    } else if (ops::has_row_axis(field.axes)) {
      shape.erase(shape.begin());
      shape.insert(shape.begin(), leading_->begin(), leading_->end());
    }
    set_output(field, given[i], field.role == Role::updates ? shape_of(*array(field)) : shape);
  }
}

// A backend without the op leaves it to the reference; that is said once for each.
void announce_fallback(const OpInfo& info, const Backend& chosen, const Backend& runs) {
  static std::vector<std::pair<const Backend*, int>> said;  // under the GIL
  const std::pair key(&chosen, info.index);
  if (std::find(said.begin(), said.end(), key) != said.end()) return;
  said.push_back(key);
  py::module_::import("logging").attr("getLogger")("msltx").attr("warning")(
      concat("backend ", chosen.name(), " has no ", info.name, "; ", runs.name(), " runs it"));
}

void OpCall::run() {
  ops::check(info_, op());
  ops::check_indices(info_, op());
  const auto index = static_cast<size_t>(info_.index);
  const Backend& runs = backend_->runs_on(index);
  const DType compute = info_.compute_type(op());
  if (!backend_->kernel(index).run) {
    throw Error(concat(info_.name, ": no backend of this build has it"));
  }
  if (!runs.supports(info_, compute)) {
    throw ValueError(concat(info_.name, ": backend ", runs.name(), " does not compute in ",
                            name_of(compute), "; it does in float32"));
  }
  if (&runs != backend_) announce_fallback(info_, *backend_, runs);
  LastKernel seen;
  run_released([&] {
    Executor& executor = Executor::global();
    ops::Scratch scratch(executor.threads());
    ops::Stream stream(*backend_, executor, scratch, &seen);
    stream.encode(index, op());
    stream.submit();
    stream.wait();
  });
}

py::object OpCall::results() const {
  const auto of = [&](const FieldInfo* field) {
    return *arrays_[static_cast<size_t>(field - info_.fields.data())];
  };
  if (produced_.size() == 1) return of(produced_.front());
  py::tuple all(produced_.size());
  for (size_t i = 0; i < produced_.size(); ++i) all[i] = of(produced_[i]);
  return all;
}

}  // namespace

py::object call_op(const OpInfo& info, const py::tuple& inputs, const py::dict& named) {
  OpCall call(info);
  call.bind(inputs, named);
  call.make_outputs();
  call.run();
  return call.results();
}

std::optional<std::pair<std::string_view, std::string_view>> last_kernel() {
  const std::lock_guard lock(LastKernel::mutex);
  return LastKernel::last;
}

}  // namespace msltx::bindings
