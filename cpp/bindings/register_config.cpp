// msltx.GPTConfig: every attribute, its type in words and its documentation come from the field
// table.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>

#include "bindings/python_json.h"
#include "bindings/register.h"
#include "msltx/base/error.h"
#include "msltx/model/config.h"
#include "msltx/model/config_fields.h"
#include "msltx/model/parameter_list.h"
#include "msltx/model/refusals.h"
#include "msltx/model/rope.h"

namespace py = pybind11;

namespace msltx::bindings {
namespace {

using model::GPTConfig;
using nlohmann::json;

// In the order of the field table, which JSON objects do not keep.
py::dict in_table_order(const json& fields) {
  py::dict dict;
  GPTConfig table;
  model::visit_fields(table, [&](const model::Field& f, auto&) {
    const auto it = fields.find(f.name);
    if (it != fields.end()) dict[py::str(std::string(f.name))] = python_from_json(*it);
  });
  return dict;
}

json fields_of(const py::dict& dict) {
  json fields = json::object();
  for (const auto& [name, value] : dict) {
    const auto text = py::str(name).cast<std::string>();
    fields[text] = json_from_python(value, text);
  }
  return fields;
}

std::string repr(const GPTConfig& config) {
  std::string text;
  for (const auto& [name, value] : in_table_order(model::essential_fields(config))) {
    text += concat(text.empty() ? "" : ", ", py::str(name).cast<std::string>(), "=",
                   py::repr(value).cast<std::string>());
  }
  return concat("GPTConfig(", text, ")");
}

py::list parameters(const GPTConfig& config) {
  py::list list;
  for (const auto& spec : model::parameter_list(config)) {
    list.append(py::make_tuple(spec.name, py::tuple(py::cast(spec.shape))));
  }
  return list;
}

// The class's documentation is made at run time and lives as long as the class.
const char* class_doc() {
  static const std::string text = [] {
    std::string lines =
        "The settings of a GPT, checked when it is made; immutable.\n\n"
        "Fields that are not given take their defaults, or what follows from the others.\n\n"
        "Parameters\n----------\n";
    for (const auto& field : model::describe_fields()) {
      if (field.name.find('.') != std::string::npos) continue;
      lines += concat(field.name, " : ", field.takes, "\n    ", field.meaning, " (",
                      field.otherwise == "required" ? "" : "default ", field.otherwise, ").\n");
    }
    return lines +
           "\nRaises\n------\nInvalidValueError\n    For an unknown field, or a value that is "
           "impossible; the message names field,\n    value and limit.\n";
  }();
  return text.c_str();
}

py::array_t<float> rope_table(const GPTConfig& config, std::optional<int64_t> positions) {
  const int64_t rows = positions.value_or(config.context_length);
  if (config.head_dim % 2 != 0) {
    throw ValueError(
        concat("head_dim is ", config.head_dim, "; a table for rope takes an even one"));
  }
  if (rows < 0 || rows > config.context_length) {
    throw ValueError(concat("positions is ", rows, "; it must be at least 0 and at most ",
                            "context_length = ", config.context_length));
  }
  py::array_t<float> table({rows, config.head_dim});
  model::fill_rope_table(config,
                         std::span(table.mutable_data(), static_cast<size_t>(table.size())));
  return table;
}

py::list describe() {
  py::list list;
  for (const auto& f : model::describe_fields()) {
    list.append(py::make_tuple(f.name, f.takes, f.otherwise, f.meaning));
  }
  return list;
}

}  // namespace

void register_config(py::module_& m) {
  const auto from_dict = [](const py::dict& fields) {
    return model::config_from_json(fields_of(fields));
  };
  const auto to_dict = [](const GPTConfig& c) { return in_table_order(model::config_to_json(c)); };
  py::class_<GPTConfig> type(m, "GPTConfig", class_doc());
  type.attr("__module__") = "msltx";
  type.def(py::init(
               [](const py::kwargs& fields) { return model::config_from_json(fields_of(fields)); }))
      .def_static(
          "preset",
          [](const std::string& name, const py::kwargs& changes) {
            return model::preset(name, fields_of(changes));
          },
          // Its argument has no name, so that a field `name` is an unknown field like any other.
          "The preset of that name, with these fields in place of its own.")
      .def_static(
          "preset_names",
          [] {
            std::vector<std::string> names;
            for (std::string_view name : model::preset_names()) names.emplace_back(name);
            return names;
          },
          "The names that preset() takes.")
      .def_static("from_dict", from_dict, py::arg("fields"), "From what to_dict() gave.")
      .def_static(
          "field_called",
          [](const std::string& name) -> py::object {
            const std::string_view field = model::field_called(name);
            return field.empty() ? py::object(py::none()) : py::str(std::string(field));
          },
          py::arg("name"),
          "The field that goes by this name here or in another project; None where there is none.")
      .def_static("describe", &describe,
                  "For every field: name, what it takes, default, meaning; all as text.")
      .def_static(
          "refusals",
          [] {
            std::vector<std::pair<std::string, std::string>> list;
            for (const auto& r : model::refusals()) list.emplace_back(r.settings, r.reason);
            return list;
          },
          "Settings that are fine apart and refused together, and why.")
      .def("to_dict", to_dict, "Every field, also those that took their defaults.")
      .def(
          "replace",
          [](const GPTConfig& c, const py::kwargs& changes) {
            return model::with_changes(c, fields_of(changes));
          },
          "A configuration with these fields changed; what followed from them follows again.")
      .def("num_parameters", &model::parameter_count,
           "Numbers in all parameters of a model with this configuration.")
      .def("parameters", &parameters, "Name and shape of every parameter, in model order.")
      .def(
          "rope_table", &rope_table, py::arg("positions") = py::none(),
          "The table that kernels.rope_forward takes, for rope_theta and rope_scaling: float32 "
          "(positions, head_dim), cos and sin of each pair in turn; context_length positions where "
          "not given.")
      .def("__repr__", &repr)
      .def("__eq__",
           [](const GPTConfig& a, const py::object& b) {
             return py::isinstance<GPTConfig>(b) && a == b.cast<const GPTConfig&>();
           })
      .def("__hash__",
           [](const GPTConfig& c) {
             return std::hash<std::string>()(model::config_to_json(c).dump());
           })
      .def(py::pickle(to_dict, from_dict));
  GPTConfig table;
  model::visit_fields(table, [&](const model::Field& f, auto&) {
    const std::string name(f.name);
    type.def_property_readonly(
        name.c_str(),
        [name](const GPTConfig& c) { return python_from_json(model::config_to_json(c).at(name)); },
        std::string(f.meaning).c_str());
  });
}

}  // namespace msltx::bindings
