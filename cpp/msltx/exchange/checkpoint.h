// Checkpoints of a run: RUN/checkpoints/step_00001000/ holds a model folder's files, the
// optimizer's state and state.json. A step folder appears whole and never changes; `last` and
// `best` beside it are links, replaced by rename. Whatever kills the process, `last` leads to a
// checkpoint that loads.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "msltx/base/file.h"
#include "msltx/exchange/model_folder.h"
#include "msltx/exchange/safetensors.h"

namespace msltx::exchange {

struct CheckpointContents {
  const model::GPTConfig& config;
  std::span<const NamedTensor> parameters;
  std::string_view tokenizer_json;  // empty: none
  std::span<const NamedTensor> optimizer;
  const nlohmann::json&
      state;  // an object; `format`, `version`, `step`, `library_version` are added
};

struct CheckpointPolicy {
  bool best = false;  // point `best` here too
  int64_t keep = 0;   // afterwards keep the newest so many, and what `best` points at; 0: all
};

// Writes the checkpoint of `step`, points `last` (and `best`) at it, removes the ones to drop. A
// folder of the same step, left by a run that was resumed from before it, is replaced as a whole.
Path save_checkpoint(const Path& run, int64_t step, const CheckpointContents& contents,
                     const CheckpointPolicy& policy);

// Points `best` at the checkpoint of `step`, which exists.
void mark_best(const Path& run, int64_t step);

struct Checkpoint {
  ModelFolder model;
  SafetensorsFile optimizer;
  nlohmann::json state;  // as given to save_checkpoint, with step and library_version
  int64_t step = 0;
};

// Of a step folder, or of a run: its last. FileError for a plain model folder.
Checkpoint load_checkpoint(const Path& run_or_step);

// The steps of a run's checkpoints, ascending.
std::vector<int64_t> checkpoint_steps(const Path& run);

// A checkpoint that somebody or something has taken files from.
struct DamagedCheckpoint {
  Path folder;
  std::vector<std::string> missing;  // the files' names
};

// The folder that MODEL means: itself where it is a model folder or checkpoint; a run's last
// checkpoint. Damaged ones that are passed over on the way to it go to `passed_over`.
Path resolve_model(const Path& model, std::vector<DamagedCheckpoint>* passed_over = nullptr);

}  // namespace msltx::exchange
