// The tokenizer. msltx.Tokenizer is the face of it.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bindings/call.h"
#include "bindings/progress.h"
#include "bindings/register.h"
#include "bindings/token_ids.h"
#include "msltx/base/error.h"
#include "msltx/base/file_content.h"
#include "msltx/text/tokenizer.h"
#include "msltx/text/tokenizer_trainer.h"

namespace py = pybind11;

namespace msltx::bindings {
namespace {

using text::BatchOptions;
using text::Encoding;
using text::StreamDecoder;
using text::Tokenizer;
using text::TokenizerTrainer;
using text::TrainOptions;
using text::Utf8;

// Up to this many bytes or ids are encoded or decoded at once, holding the GIL: some tens of
// microseconds.
constexpr size_t kQuick = 1 << 13;

// The UTF-8 of a str, which the str keeps alive.
std::string_view view_of(const py::handle& text, const char* what = "text") {
  if (!PyUnicode_Check(text.ptr())) {
    throw py::type_error(concat(what, " is a ",
                                std::string(py::str(py::type::of(text).attr("__name__"))),
                                "; a str is expected"));
  }
  Py_ssize_t size = 0;
  const char* const data = PyUnicode_AsUTF8AndSize(text.ptr(), &size);
  if (!data) {
    PyErr_Clear();
    throw ValueError(concat(what, " holds a lone surrogate, which is no character"));
  }
  return {data, static_cast<size_t>(size)};
}

std::vector<std::string_view> views_of(const py::sequence& texts) {
  std::vector<std::string_view> views;
  views.reserve(py::len(texts));
  for (const py::handle text : texts) views.push_back(view_of(text));
  return views;
}

py::array_t<int32_t> encode(const Tokenizer& self, const py::object& text,
                            bool add_special_tokens) {
  const std::string_view view = view_of(text);
  if (view.size() <= kQuick) return id_array(self.encode(view, add_special_tokens));
  return id_array(run_released([&] {
    return self.encode_parallel(view, Executor::global(), add_special_tokens, Utf8::valid);
  }));
}

// A file of UTF-8 without making a str of it.
py::array_t<int32_t> encode_file(const Tokenizer& self, const Path& path, bool add_special_tokens) {
  return id_array(run_released([&] {
    Executor& executor = Executor::global();
    const FileContent file(path, executor);
    const std::string_view content = file.text();
    if (const size_t bad = text::find_invalid_utf8(content, executor); bad != text::kValid) {
      throw FileError(concat(path.string(), " has ", text::describe_invalid_utf8(content, bad)));
    }
    return self.encode_parallel(content, executor, add_special_tokens, Utf8::valid);
  }));
}

py::list encode_batch(const Tokenizer& self, const py::sequence& texts, bool add_special_tokens) {
  // A list of our own: nobody can take a text away while it is read without the GIL.
  const py::list held(texts);
  const std::vector<std::string_view> views = views_of(held);
  auto ids = run_released(
      [&] { return self.encode_batch(views, Executor::global(), add_special_tokens); });
  py::list out;
  for (auto& of_text : ids) out.append(id_array(std::move(of_text)));
  return out;
}

std::string decode(const Tokenizer& self, const py::object& ids, bool skip_special_tokens) {
  const std::vector<int32_t> numbers = token_ids(ids, "ids");
  if (numbers.size() <= kQuick) return self.decode(numbers, skip_special_tokens);
  const py::gil_scoped_release released;
  return self.decode(numbers, skip_special_tokens);
}

py::array_t<uint8_t> flag_array(const std::vector<uint8_t>& flags) {
  return py::array_t<uint8_t>(static_cast<py::ssize_t>(flags.size()), flags.data());
}

// Everything of an encoding, windows beyond the first under "overflowing".
py::dict encoding_dict(Encoding encoding) {
  py::array_t<int32_t> offsets({static_cast<py::ssize_t>(encoding.size()), py::ssize_t{2}});
  auto places = offsets.mutable_unchecked<2>();
  for (size_t i = 0; i < encoding.size(); ++i) {
    places(static_cast<py::ssize_t>(i), 0) = static_cast<int32_t>(encoding.offsets[i].begin);
    places(static_cast<py::ssize_t>(i), 1) = static_cast<int32_t>(encoding.offsets[i].end);
  }
  py::list overflowing;
  for (Encoding& window : encoding.overflowing)
    overflowing.append(encoding_dict(std::move(window)));
  py::dict out;
  out["ids"] = id_array(std::move(encoding.ids));
  out["type_ids"] = id_array(std::move(encoding.type_ids));
  out["words"] = id_array(std::move(encoding.words));
  out["tokens"] = std::move(encoding.tokens);
  out["offsets"] = std::move(offsets);
  out["special_tokens_mask"] = flag_array(encoding.special_tokens_mask);
  out["attention_mask"] = flag_array(encoding.attention_mask);
  out["overflowing"] = std::move(overflowing);
  return out;
}

py::dict encode_fully(const Tokenizer& self, const py::object& text, bool add_special_tokens) {
  const std::string_view view = view_of(text);
  return encoding_dict(run_released([&] { return self.encode_fully(view, add_special_tokens); }));
}

text::Side side_of(const std::string& name, const char* argument) {
  if (name == "left") return text::Side::left;
  if (name == "right") return text::Side::right;
  throw ValueError(concat(argument, " is ", name, "; it takes left or right"));
}

py::list encode_batch_fully(const Tokenizer& self, const py::sequence& texts,
                            bool add_special_tokens, std::optional<int64_t> max_length,
                            int64_t stride, const std::string& truncation_side,
                            std::optional<int64_t> padded_length, bool pad_longest,
                            int64_t pad_to_multiple_of, const std::string& padding_side) {
  using Padding = BatchOptions::Padding;
  const BatchOptions options{.add_special_tokens = add_special_tokens,
                             .max_length = max_length,
                             .stride = stride,
                             .truncation_side = side_of(truncation_side, "truncation_side"),
                             .padding = padded_length ? Padding::fixed
                                        : pad_longest ? Padding::longest
                                                      : Padding::none,
                             .padded_length = padded_length.value_or(0),
                             .pad_to_multiple_of = pad_to_multiple_of,
                             .padding_side = side_of(padding_side, "padding_side")};
  const py::list held(texts);
  const std::vector<std::string_view> views = views_of(held);
  auto encodings =
      run_released([&] { return self.encode_batch_fully(views, options, Executor::global()); });
  py::list out;
  for (Encoding& encoding : encodings) out.append(encoding_dict(std::move(encoding)));
  return out;
}

TrainOptions train_options(std::string model, int64_t vocab_size, int64_t min_frequency,
                           std::vector<std::string> special_tokens, std::string split,
                           int64_t max_token_length, int64_t alphabet_limit,
                           std::optional<double> character_coverage, bool byte_fallback,
                           std::optional<std::string> continuing_prefix,
                           std::optional<std::string> word_suffix, bool lowercase,
                           const text::Cleaning& cleaning, const std::string& invalid_utf8,
                           double sample_share, int64_t sample_bytes, uint64_t sample_seed) {
  TrainOptions options{.model = std::move(model),
                       .vocab_size = vocab_size,
                       .min_frequency = min_frequency,
                       .special_tokens = std::move(special_tokens),
                       .split = std::move(split),
                       .max_token_length = max_token_length,
                       .alphabet_limit = alphabet_limit,
                       .character_coverage = character_coverage,
                       .byte_fallback = byte_fallback,
                       .continuing_prefix = std::move(continuing_prefix),
                       .word_suffix = std::move(word_suffix),
                       .lowercase = lowercase,
                       .cleaning = cleaning,
                       .invalid_utf8 = text::invalid_utf8_from_name(invalid_utf8),
                       .sample_share = sample_share,
                       .sample_bytes = sample_bytes,
                       .sample_seed = sample_seed};
  text::check(options);  // before a text is read
  return options;
}

std::unique_ptr<Tokenizer> train_files(const std::vector<Path>& files, const TrainOptions& options,
                                       const py::object& progress) {
  const auto report = progress_function(progress);
  return run_released([&] {
    return std::make_unique<Tokenizer>(
        Tokenizer::train(files, options, Executor::global(), report));
  });
}

// Texts are taken from the iterator a few megabytes at a time and counted; the rest is as for
// files.
std::unique_ptr<Tokenizer> train_texts(const py::iterable& texts, const TrainOptions& options,
                                       const py::object& progress) {
  constexpr size_t kBatchBytes = size_t{8} << 20;
  const auto report = progress_function(progress);
  TokenizerTrainer trainer(options, Executor::global());
  py::list held;
  std::vector<std::string_view> views;
  size_t bytes = 0;
  int64_t done = 0;
  const auto count = [&] {
    run_released([&] {
      trainer.add_texts(views);
      done += static_cast<int64_t>(bytes);
      if (report) report({"read", done, 0});
    });
    views.clear();
    held = py::list();
    bytes = 0;
  };
  for (const py::handle text : texts) {
    views.push_back(view_of(text));
    held.append(text);
    bytes += views.back().size();
    if (bytes >= kBatchBytes) count();
  }
  count();
  return run_released([&] { return std::make_unique<Tokenizer>(trainer.finish(report)); });
}

}  // namespace

void register_text(py::module_& m) {
  py::class_<TrainOptions>(m, "TokenizerTrainOptions")
      .def(py::init(&train_options), py::kw_only(), py::arg("model"), py::arg("vocab_size"),
           py::arg("min_frequency"), py::arg("special_tokens"), py::arg("split"),
           py::arg("max_token_length"), py::arg("alphabet_limit"), py::arg("character_coverage"),
           py::arg("byte_fallback"), py::arg("continuing_prefix"), py::arg("word_suffix"),
           py::arg("lowercase"), py::arg("cleaning"), py::arg("invalid_utf8"),
           py::arg("sample_share"), py::arg("sample_bytes"), py::arg("sample_seed"));

  py::class_<Tokenizer>(m, "Tokenizer")
      .def_static(
          "load",
          [](const Path& path, std::string split,
             std::vector<std::pair<std::string, int32_t>> special_tokens,
             std::optional<std::string> pad_token, std::optional<std::string> unk_token,
             std::optional<std::string> bos_token, std::optional<std::string> eos_token) {
            return Tokenizer::load(path, {.split = std::move(split),
                                          .special_tokens = std::move(special_tokens),
                                          .roles = {std::move(pad_token), std::move(unk_token),
                                                    std::move(bos_token), std::move(eos_token)}});
          },
          py::arg("path"), py::arg("split") = "",
          py::arg("special_tokens") = std::vector<std::pair<std::string, int32_t>>(),
          py::arg("pad_token") = py::none(), py::arg("unk_token") = py::none(),
          py::arg("bos_token") = py::none(), py::arg("eos_token") = py::none(),
          py::call_guard<py::gil_scoped_release>())
      .def_static(
          "from_json",
          [](const py::object& json) {
            const std::string_view text = view_of(json, "json");
            const py::gil_scoped_release released;
            return Tokenizer::from_json(text);
          },
          py::arg("json"))
      .def_static("train_files", &train_files, py::arg("files"), py::arg("options"),
                  py::arg("progress") = py::none())
      .def_static("train_texts", &train_texts, py::arg("texts"), py::arg("options"),
                  py::arg("progress") = py::none())
      .def("to_json", &Tokenizer::to_json, py::call_guard<py::gil_scoped_release>())
      .def(
          "save", [](const Tokenizer& self, const Path& path) { self.save(path); }, py::arg("path"),
          py::call_guard<py::gil_scoped_release>())
      .def("encode", &encode, py::arg("text"), py::arg("add_special_tokens") = false)
      .def("encode_file", &encode_file, py::arg("path"), py::arg("add_special_tokens") = false)
      .def("encode_batch", &encode_batch, py::arg("texts"), py::arg("add_special_tokens") = false)
      .def("encode_fully", &encode_fully, py::arg("text"), py::arg("add_special_tokens") = false)
      .def("encode_batch_fully", &encode_batch_fully, py::arg("texts"), py::kw_only(),
           py::arg("add_special_tokens"), py::arg("max_length"), py::arg("stride"),
           py::arg("truncation_side"), py::arg("padded_length"), py::arg("pad_longest"),
           py::arg("pad_to_multiple_of"), py::arg("padding_side"))
      .def("decode", &decode, py::arg("ids"), py::arg("skip_special_tokens") = false)
      .def("token_to_id", &Tokenizer::token_to_id, py::arg("token"))
      .def("id_to_token", &Tokenizer::id_to_token, py::arg("id"))
      .def(
          "token_bytes",
          [](const Tokenizer& self, int32_t id) { return py::bytes(self.token_bytes(id)); },
          py::arg("id"))
      .def("is_special", &Tokenizer::is_special, py::arg("id"))
      .def("special_tokens",
           [](const Tokenizer& self) {
             py::dict ids;
             for (const auto& added : self.spec().added) {
               if (added.special) ids[py::str(added.content)] = added.id;
             }
             return ids;
           })
      .def_property_readonly("vocab_size", &Tokenizer::vocab_size)
      .def_property_readonly("model", &Tokenizer::model_name)
      .def_property_readonly("num_merges",
                             [](const Tokenizer& self) { return self.spec().merges.size(); })
      .def_property_readonly("training", [](const Tokenizer& self) { return self.spec().training; })
      .def_property_readonly("lowercase",
                             [](const Tokenizer& self) { return self.spec().lowercase; })
      .def_property_readonly("pad_id", [](const Tokenizer& self) { return self.roles().pad; })
      .def_property_readonly("unk_id", [](const Tokenizer& self) { return self.roles().unk; })
      .def_property_readonly("bos_id", [](const Tokenizer& self) { return self.roles().bos; })
      .def_property_readonly("eos_id", [](const Tokenizer& self) { return self.roles().eos; });

  py::class_<StreamDecoder>(m, "StreamDecoder")
      .def(py::init<const Tokenizer&, bool>(), py::arg("tokenizer"),
           py::arg("skip_special_tokens") = true, py::keep_alive<1, 2>())
      .def("push", &StreamDecoder::push, py::arg("id"))
      .def("finish", &StreamDecoder::finish);
}

}  // namespace msltx::bindings
