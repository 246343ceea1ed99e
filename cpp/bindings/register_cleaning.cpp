// Cleaning of text and what it would change. msltx.data and Tokenizer.train take its steps by name.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <utility>
#include <vector>

#include "bindings/call.h"
#include "bindings/register.h"
#include "msltx/base/error.h"
#include "msltx/text/cleaning.h"
#include "msltx/text/utf8.h"

namespace py = pybind11;

namespace msltx::bindings {
namespace {

using text::Cleaning;

Cleaning make_cleaning(bool remove_control, const std::string& normalize_unicode,
                       bool strip_accents, bool lowercase, bool remove_punctuation,
                       bool normalize_whitespace) {
  return {.control = remove_control,
          .form = text::normal_form_from_name(normalize_unicode),
          .accents = strip_accents,
          .lowercase = lowercase,
          .punctuation = remove_punctuation,
          .whitespace = normalize_whitespace};
}

std::vector<std::string> step_names(const Cleaning& cleaning) {
  std::vector<std::string> names;
  for (const text::CleaningStep& step : text::steps_of(cleaning)) names.push_back(step.name);
  return names;
}

}  // namespace

void register_cleaning(py::module_& m) {
  py::class_<Cleaning>(m, "Cleaning")
      .def(py::init(&make_cleaning), py::kw_only(), py::arg("remove_control") = false,
           py::arg("normalize_unicode") = "none", py::arg("strip_accents") = false,
           py::arg("lowercase") = false, py::arg("remove_punctuation") = false,
           py::arg("normalize_whitespace") = false)
      .def("steps", &step_names)
      .def_static("unicode_version", &text::normal_form_version)
      .def(
          "clean",
          [](const Cleaning& self, const std::string& text) {
            const py::gil_scoped_release released;
            return text::clean(text, self);
          },
          py::arg("text"));
}

}  // namespace msltx::bindings
