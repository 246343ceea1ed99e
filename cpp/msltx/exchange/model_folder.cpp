#include "msltx/exchange/model_folder.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "msltx/base/error.h"
#include "msltx/exchange/json_document.h"
#include "msltx/exchange/replace_folder.h"
#include "msltx/model/parameter_list.h"

namespace msltx::exchange {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfig = "config.json";
constexpr const char* kWeights = "model.safetensors";
constexpr const char* kTokenizer = "tokenizer.json";
constexpr const char* kConfigFormat = "msltx-config";
constexpr int64_t kConfigVersion = 1;
constexpr const char* kContainerFormat = "msltx";
constexpr int64_t kContainerVersion = 1;

const std::set<std::string>& our_files() {
  static const std::set<std::string> names = {kConfig, kWeights, kTokenizer};
  return names;
}

std::string shape_text(const std::vector<int64_t>& shape) { return to_string(std::span(shape)); }

bool is_float(const std::string& dtype) {
  return dtype == "F32" || dtype == "BF16" || dtype == "F16";
}

void check_weights(const SafetensorsFile& file, const model::GPTConfig& config) {
  const auto refuse = [&](const std::string& why) {
    throw FileError(concat(file.path().string(), ": ", why));
  };
  std::map<std::string_view, const StoredTensor*> stored;
  for (const StoredTensor& t : file.tensors()) stored.emplace(t.name, &t);
  for (const auto& spec : model::parameter_list(config)) {
    const auto it = stored.find(spec.name);
    if (it == stored.end()) refuse(concat("there is no tensor ", spec.name));
    const StoredTensor& t = *it->second;
    if (t.shape != spec.shape) {
      refuse(concat(spec.name, " has shape ", shape_text(t.shape), "; ", kConfig, " makes it ",
                    shape_text(spec.shape)));
    }
    if (!is_float(t.dtype)) {
      refuse(concat(spec.name, " has dtype ", t.dtype, "; a model's are F32, BF16 or F16"));
    }
    stored.erase(it);
  }
  if (!stored.empty()) {
    refuse(concat("tensor ", stored.begin()->first, " is no parameter of a model with this ",
                  kConfig));
  }
}

// The folder to write: links followed, so that a link to a model keeps pointing at it.
Path place_to_write(const Path& path) {
  const Path place = tidy(path);
  std::error_code error;
  if (!fs::is_symlink(place, error)) return place;
  const Path target = fs::weakly_canonical(place, error);
  if (error) throw FileError(concat("cannot follow ", place.string(), ": ", error.message()));
  return target;
}

bool is_model_folder(const Path& path) { return missing_model_files(path).empty(); }

void check_replaceable(const Path& path) {
  std::error_code error;
  if (fs::exists(path / "state.json", error)) {
    throw FileError(
        concat(path.string(), " is a checkpoint, which never changes; choose another name"));
  }
  if (is_model_folder(path)) return;
  if (fs::is_directory(path, error) && fs::is_empty(path, error) && !error) return;
  throw FileError(concat(path.string(), " exists and is no model folder; choose another name"));
}

}  // namespace

std::vector<std::string> missing_model_files(const Path& path) {
  std::vector<std::string> missing;
  std::error_code ignored;
  for (const char* name : {kConfig, kWeights}) {
    if (!fs::is_regular_file(path / name, ignored)) missing.emplace_back(name);
  }
  return missing;
}

std::optional<Path> whole_model(const Path& path) {
  if (is_model_folder(path)) return path;
  if (is_model_folder(former_sibling(path))) return former_sibling(path);
  return {};
}

void write_model_files(const Path& folder, const model::GPTConfig& config,
                       std::span<const NamedTensor> parameters, std::string_view tokenizer_json) {
  write_json_document(folder / kConfig, kConfigFormat, kConfigVersion,
                      model::config_to_json(config));
  write_safetensors(folder / kWeights, parameters, container_metadata("model"));
  if (!tokenizer_json.empty()) write_file(folder / kTokenizer, tokenizer_json);
}

void save_model_folder(const Path& path, const model::GPTConfig& config,
                       std::span<const NamedTensor> parameters, std::string_view tokenizer_json) {
  const Path place = place_to_write(path);
  recover_replacement(place, our_files());
  const bool replace = fs::exists(place);
  if (replace) check_replaceable(place);
  AtomicFolder folder(replace ? fresh_sibling(place) : place);
  write_model_files(folder.path(), config, parameters, tokenizer_json);
  folder.commit();
  if (replace) replace_with_fresh_sibling(place, our_files());
}

model::GPTConfig read_config(const Path& path) {
  const nlohmann::json fields = read_json_document(path, kConfigFormat, kConfigVersion);
  try {
    return model::config_from_json(fields);
  } catch (const ValueError& e) {
    throw FileError(concat(path.string(), ": ", e.what()));
  }
}

ModelFolder load_model_folder(const Path& path) {
  ModelFolder folder;
  folder.path = whole_model(tidy(path)).value_or(path);
  folder.config = read_config(folder.path / kConfig);
  folder.weights = SafetensorsFile(folder.path / kWeights);
  check_container(folder.weights, "model");
  check_weights(folder.weights, folder.config);
  std::error_code ignored;
  if (fs::exists(folder.path / kTokenizer, ignored)) {
    folder.tokenizer_json = read_file(folder.path / kTokenizer);
  }
  return folder;
}

Metadata container_metadata(std::string_view content) {
  return {{"format", kContainerFormat},
          {"version", std::to_string(kContainerVersion)},
          {"content", std::string(content)}};
}

void check_container(const SafetensorsFile& file, std::string_view content) {
  const Metadata& metadata = file.metadata();
  const auto value = [&](const char* name) {
    const auto it = metadata.find(name);
    return it == metadata.end() ? std::string() : it->second;
  };
  if (value("format") != kContainerFormat) return;
  const std::string text = value("version");
  int64_t version = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), version);
  const bool whole = parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
  check_format(file.path(), kContainerFormat,
               whole ? nlohmann::json(version) : nlohmann::json(text), kContainerFormat,
               kContainerVersion);
  if (value("content") != content) {
    throw FileError(
        concat(file.path().string(), ": content is ", value("content"), "; it must be ", content));
  }
}

}  // namespace msltx::exchange
