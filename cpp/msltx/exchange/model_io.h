// Models and optimizers to and from their files: what joins GPT and AdamW with folders and
// checkpoints.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "msltx/exchange/checkpoint.h"
#include "msltx/exchange/model_folder.h"
#include "msltx/model/gpt.h"
#include "msltx/optim/adamw.h"

namespace msltx::exchange {

// Views of all parameters, in model order.
std::vector<NamedTensor> named_parameters(const model::GPT& model);
// Views of both moments of each parameter, under m.<name> and v.<name>.
std::vector<NamedTensor> named_moments(const model::GPT& model, const optim::AdamW& optimizer);

void save_model(const Path& path, const model::GPT& model, std::string_view tokenizer_json);

// Of a model folder, a checkpoint or a run (its last checkpoint).
std::unique_ptr<model::GPT> load_model(const Path& path, const model::GPTOptions& options);

// Copies stored values into a model, or moments into an optimizer, of the same configuration.
void restore_parameters(const SafetensorsFile& file, model::GPT& model);
void restore_moments(const SafetensorsFile& file, const model::GPT& model, optim::AdamW& optimizer);

}  // namespace msltx::exchange
