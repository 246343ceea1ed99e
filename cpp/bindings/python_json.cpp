#include "bindings/python_json.h"

#include "msltx/base/error.h"

namespace py = pybind11;

namespace msltx::bindings {
namespace {

using nlohmann::json;

constexpr int kDeepest = 64;

json integer(const py::handle& value) {
  int overflow = 0;
  const long long number = PyLong_AsLongLongAndOverflow(value.ptr(), &overflow);
  if (overflow == 0) return number;
  const double rough =
      PyLong_AsDouble(value.ptr());  // beyond every limit, to be shown in a refusal
  if (PyErr_Occurred()) PyErr_Clear();
  return rough;
}

json convert(const py::handle& value, const std::string& what, int depth) {
  if (depth > kDeepest) throw ValueError(concat(what, " nests deeper than ", kDeepest, " levels"));
  PyObject* p = value.ptr();
  if (value.is_none()) return nullptr;
  if (PyBool_Check(p)) return p == Py_True;
  if (PyLong_Check(p)) return integer(value);
  if (PyFloat_Check(p)) return value.cast<double>();
  if (PyUnicode_Check(p)) return value.cast<std::string>();
  if (PyDict_Check(p)) {
    json object = json::object();
    for (const auto& [name, item] : py::reinterpret_borrow<py::dict>(value)) {
      if (!PyUnicode_Check(name.ptr())) throw ValueError(concat(what, " has a key that is no str"));
      auto text = name.cast<std::string>();
      json converted = convert(item, concat(what, ".", text), depth + 1);
      object[std::move(text)] = std::move(converted);
    }
    return object;
  }
  if (PyList_Check(p) || PyTuple_Check(p) || PyAnySet_Check(p)) {
    json list = json::array();
    for (const py::handle& item : value) list.push_back(convert(item, what, depth + 1));
    return list;
  }
  if (py::hasattr(value, "dtype") && py::hasattr(value, "item") &&
      py::len(value.attr("shape")) == 0) {
    return convert(value.attr("item")(), what, depth + 1);  // a NumPy scalar
  }
  throw ValueError(concat(what, " is a ", Py_TYPE(p)->tp_name,
                          "; it takes None, bool, int, float, str, list or dict"));
}

}  // namespace

json json_from_python(const py::handle& value, const std::string& what) {
  return convert(value, what, 0);
}

py::object python_from_json(const json& value) {
  switch (value.type()) {
    case json::value_t::boolean:
      return py::bool_(value.get<bool>());
    case json::value_t::number_integer:
      return py::int_(value.get<int64_t>());
    case json::value_t::number_unsigned:
      return py::int_(value.get<uint64_t>());
    case json::value_t::number_float:
      return py::float_(value.get<double>());
    case json::value_t::string:
      return py::str(value.get_ref<const std::string&>());
    case json::value_t::array: {
      py::list list;
      for (const json& item : value) list.append(python_from_json(item));
      return list;
    }
    case json::value_t::object: {
      py::dict dict;
      for (const auto& [name, item] : value.items()) dict[py::str(name)] = python_from_json(item);
      return dict;
    }
    default:
      return py::none();
  }
}

}  // namespace msltx::bindings
