// Text in, datasets out: reading documents, preparing, splitting anew, inspecting. msltx.data is
// the face of them.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings/call.h"
#include "bindings/progress.h"
#include "bindings/register.h"
#include "msltx/base/error.h"
#include "msltx/data/cleaning_report.h"
#include "msltx/data/prepare.h"
#include "msltx/data/resplit.h"
#include "msltx/text/general_category.h"

namespace py = pybind11;

namespace msltx::bindings {
namespace {

using data::Document;
using data::DocumentSource;
using data::PrepareOptions;
using data::ReadOptions;
using text::InvalidUtf8;

// Documents from a Python iterator of str, fetched some at a time: one hold of the GIL for many.
class PythonDocuments : public DocumentSource {
 public:
  PythonDocuments(py::iterator iterator, InvalidUtf8 invalid)
      : iterator_(std::move(iterator)), invalid_(invalid) {}
  ~PythonDocuments() override {
    const py::gil_scoped_acquire gil;
    iterator_ = py::iterator();
  }

  bool next(Document& document) override {
    for (;;) {
      if (parts_.next(document)) return true;
      if (at_ == waiting_.size() && !fetch()) return false;
      parts_.set(std::move(waiting_[at_++]));
    }
  }
  int64_t bytes_read() const override { return bytes_; }
  int64_t bytes_total() const override { return 0; }
  text::InvalidCounts counts() const override { return counts_; }

 private:
  static constexpr size_t kFetchBytes = 1 << 18;

  bool fetch() {
    const py::gil_scoped_acquire gil;
    waiting_.clear();
    at_ = 0;
    for (size_t bytes = 0; bytes < kFetchBytes && iterator_ != py::iterator::sentinel();
         ++iterator_) {
      ++number_;
      if (!add(*iterator_)) continue;
      bytes += waiting_.back().size();
      bytes_ += static_cast<int64_t>(waiting_.back().size());
    }
    return !waiting_.empty();
  }

  bool add(const py::handle& text) {
    if (!PyUnicode_Check(text.ptr())) {
      throw py::type_error(concat("document ", number_, " is a ",
                                  std::string(py::str(py::type::of(text).attr("__name__"))),
                                  "; a str is expected"));
    }
    Py_ssize_t size = 0;
    if (const char* utf8 = PyUnicode_AsUTF8AndSize(text.ptr(), &size)) {
      waiting_.emplace_back(utf8, static_cast<size_t>(size));
      return true;
    }
    PyErr_Clear();
    if (invalid_ == InvalidUtf8::refuse) {
      throw ValueError(
          concat("document ", number_, " holds a lone surrogate, which is no character"));
    }
    if (invalid_ == InvalidUtf8::skip) {
      ++counts_.skipped;
      return false;
    }
    const auto bytes = text.attr("encode")("utf-8", "surrogatepass").cast<std::string>();
    waiting_.push_back(text::replace_invalid_utf8(bytes, &counts_.replaced));
    return true;
  }

  py::iterator iterator_;
  InvalidUtf8 invalid_;
  std::vector<std::string> waiting_;
  size_t at_ = 0;
  data::DocumentParts parts_;
  int64_t number_ = 0, bytes_ = 0;
  text::InvalidCounts counts_;
};

// Paths, and iterators of str, in the order given.
std::unique_ptr<DocumentSource> make_source(const py::list& sources, const ReadOptions& options) {
  std::vector<std::unique_ptr<DocumentSource>> parts;
  std::vector<Path> files;
  const auto end_files = [&] {
    if (files.empty()) return;
    parts.push_back(std::make_unique<data::DocumentReader>(std::move(files), options));
    files.clear();
  };
  for (const py::handle source : sources) {
    if (py::isinstance<py::str>(source)) {
      files.push_back(source.cast<Path>());
      continue;
    }
    end_files();
    parts.push_back(std::make_unique<PythonDocuments>(py::iter(source), options.invalid_utf8));
  }
  end_files();
  return std::make_unique<data::DocumentSequence>(std::move(parts));
}

ReadOptions read_options(const std::string& documents, std::string separator, std::string field,
                         const std::string& invalid_utf8) {
  ReadOptions options{.documents = data::separator_from_name(documents),
                      .separator = std::move(separator),
                      .field = std::move(field),
                      .invalid_utf8 = text::invalid_utf8_from_name(invalid_utf8)};
  data::check(options);
  return options;
}

PrepareOptions prepare_options(const ReadOptions& reading, double val_fraction,
                               const text::Cleaning& cleaning, int64_t shard_tokens,
                               bool overwrite) {
  return {.val_fraction = val_fraction,
          .documents = reading.documents,
          .separator = reading.separator,
          .field = reading.field,
          .cleaning = cleaning,
          .invalid_utf8 = reading.invalid_utf8,
          .shard_tokens = shard_tokens,
          .overwrite = overwrite};
}

void prepare(const py::list& sources, const std::vector<std::pair<std::string, int64_t>>& names,
             const text::Tokenizer& tokenizer, const Path& out, const ReadOptions& reading,
             double val_fraction, const text::Cleaning& cleaning, int64_t shard_tokens,
             bool overwrite, const py::object& progress) {
  const auto options = prepare_options(reading, val_fraction, cleaning, shard_tokens, overwrite);
  data::check_prepare(out, options);
  std::vector<data::SourceName> named;
  for (const auto& [name, bytes] : names) named.push_back({name, bytes});
  const auto source = make_source(sources, reading);
  const auto report = progress_function(progress);
  run_released(
      [&] { data::prepare(*source, named, tokenizer, out, options, Executor::global(), report); });
}

// The texts of a source's documents, parts of long ones each on its own.
class Documents {
 public:
  Documents(const py::list& sources, const ReadOptions& options)
      : source_(make_source(sources, options)) {}

  std::string next() {
    Document document;
    bool there = false;
    {
      const py::gil_scoped_release released;
      do {
        there = source_->next(document);
      } while (there && document.text.empty());
    }
    if (!there) throw py::stop_iteration();
    return std::move(document.text);
  }
  int64_t bytes_read() const { return source_->bytes_read(); }
  int64_t bytes_total() const { return source_->bytes_total(); }

 private:
  std::unique_ptr<DocumentSource> source_;
};

py::dict inspect(const py::list& sources, const ReadOptions& reading,
                 const text::Cleaning& cleaning, int64_t most_bytes, size_t examples,
                 const py::object& progress) {
  const auto source = make_source(sources, reading);
  const auto told = progress_function(progress);
  const data::CleaningReport report = run_released([&] {
    return data::report_cleaning(*source, cleaning, most_bytes, examples, Executor::global(), told);
  });
  py::dict categories, characters;
  std::vector<int64_t> by_category(text::kGeneralCategories);
  for (size_t c = 0; c < report.counts.size(); ++c) {
    const int64_t count = report.counts[c];
    if (count == 0) continue;
    const auto code = static_cast<char32_t>(c);
    by_category[static_cast<size_t>(text::category_of(code))] += count;
    std::string utf8;
    text::append_utf8(utf8, code);
    characters[py::str(utf8)] = count;
  }
  for (int k = 0; k < text::kGeneralCategories; ++k) {
    const auto name = text::name_of(static_cast<text::GeneralCategory>(k));
    if (by_category[static_cast<size_t>(k)] > 0) {
      categories[py::str(name.data(), name.size())] = by_category[static_cast<size_t>(k)];
    }
  }
  py::list steps;
  for (const data::StepReport& step : report.steps) {
    py::list shown;
    for (const auto& example : step.examples) {
      shown.append(py::make_tuple(example.before, example.after));
    }
    steps.append(py::dict(py::arg("name") = step.name, py::arg("documents") = step.documents,
                          py::arg("lines") = step.lines, py::arg("removed") = step.removed,
                          py::arg("added") = step.added, py::arg("examples") = shown));
  }
  const text::InvalidCounts counts = source->counts();
  return py::dict(py::arg("documents") = report.documents, py::arg("bytes") = report.bytes,
                  py::arg("characters") = report.characters, py::arg("categories") = categories,
                  py::arg("counts") = characters, py::arg("steps") = steps,
                  py::arg("replaced") = counts.replaced, py::arg("skipped") = counts.skipped);
}

}  // namespace

void register_prepare(py::module_& m) {
  py::class_<ReadOptions>(m, "ReadOptions")
      .def(py::init(&read_options), py::kw_only(), py::arg("documents") = "blank_line",
           py::arg("separator") = "", py::arg("field") = "text",
           py::arg("invalid_utf8") = "refuse");

  m.def("prepare_data", &prepare, py::arg("sources"), py::arg("names"), py::arg("tokenizer"),
        py::arg("out"), py::kw_only(), py::arg("reading"), py::arg("val_fraction"),
        py::arg("cleaning"), py::arg("shard_tokens"), py::arg("overwrite"),
        py::arg("progress") = py::none());

  m.def(
      "check_prepare",
      [](const Path& out, double val_fraction, bool overwrite) {
        data::check_prepare(out, {.val_fraction = val_fraction, .overwrite = overwrite});
      },
      py::arg("out"), py::kw_only(), py::arg("val_fraction"), py::arg("overwrite"));

  m.def(
      "split_data",
      [](const data::Dataset& dataset, const std::string& tokenizer_json, const Path& out,
         double val_fraction, int64_t shard_tokens, bool overwrite, const py::object& progress) {
        const auto report = progress_function(progress);
        run_released([&] {
          data::resplit(dataset, tokenizer_json, out, {val_fraction, shard_tokens, overwrite},
                        Executor::global(), report);
        });
      },
      py::arg("dataset"), py::arg("tokenizer_json"), py::arg("out"), py::kw_only(),
      py::arg("val_fraction"), py::arg("shard_tokens"), py::arg("overwrite"),
      py::arg("progress") = py::none());

  m.def("inspect_text", &inspect, py::arg("sources"), py::kw_only(), py::arg("reading"),
        py::arg("cleaning"), py::arg("most_bytes"), py::arg("examples"),
        py::arg("progress") = py::none());

  py::class_<Documents>(m, "Documents")
      .def(py::init<const py::list&, const ReadOptions&>(), py::arg("sources"), py::arg("reading"))
      .def("__iter__", [](py::object self) { return self; })
      .def("__next__", &Documents::next)
      .def_property_readonly("bytes_read", &Documents::bytes_read)
      .def_property_readonly("bytes_total", &Documents::bytes_total);
}

}  // namespace msltx::bindings
