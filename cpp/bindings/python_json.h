// Plain Python values (None, bool, int, float, str, list, tuple, set, dict, NumPy scalars) as JSON
// and back: how configurations and states cross.
#pragma once

#include <pybind11/pybind11.h>

#include <nlohmann/json.hpp>
#include <string>

namespace msltx::bindings {

// Throws ValueError naming `what` for anything else, and for nesting deeper than 64.
nlohmann::json json_from_python(const pybind11::handle& value, const std::string& what);

pybind11::object python_from_json(const nlohmann::json& value);

}  // namespace msltx::bindings
