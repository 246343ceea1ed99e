// A model folder: config.json, model.safetensors and, where the model has one, tokenizer.json.
// Works on a configuration and named tensors; the model itself is its caller's.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "msltx/base/file.h"
#include "msltx/exchange/safetensors.h"
#include "msltx/model/config.h"

namespace msltx::exchange {

// Writes the folder whole or not at all. A model folder of that name is replaced at once: whatever
// happens, the old or the new one is there. Anything else of that name, a checkpoint included, is
// refused. `tokenizer_json` is the text of that file; empty: none.
void save_model_folder(const Path& path, const model::GPTConfig& config,
                       std::span<const NamedTensor> parameters, std::string_view tokenizer_json);

struct ModelFolder {
  Path path;
  model::GPTConfig config;
  SafetensorsFile weights;     // holds every parameter of `config` in its shape, and nothing else
  std::string tokenizer_json;  // empty: none
};
ModelFolder load_model_folder(const Path& path);

// Where the model folder of that name is whole: there, or, when a replacement was killed between
// two renames, at its former sibling.
std::optional<Path> whole_model(const Path& path);

// Those of config.json and model.safetensors that a folder lacks, and is no model folder for it.
std::vector<std::string> missing_model_files(const Path& path);

// The three files, into a folder that exists: what a checkpoint shares with a model folder.
void write_model_files(const Path& folder, const model::GPTConfig& config,
                       std::span<const NamedTensor> parameters, std::string_view tokenizer_json);

model::GPTConfig read_config(const Path& path);  // of a config.json

// The metadata of our safetensors files, and its check: `content` is "model" or "optimizer". A file
// that another program wrote has no such metadata and passes.
Metadata container_metadata(std::string_view content);
void check_container(const SafetensorsFile& file, std::string_view content);

}  // namespace msltx::exchange
