#include "msltx/exchange/model_io.h"

#include <cstring>

#include "msltx/base/error.h"

namespace msltx::exchange {
namespace {

// The part of a moment's arena that belongs to a parameter: it lies where the parameter does in its
// own.
Tensor moment_of(const model::Parameter& parameter, const Tensor& moments) {
  Tensor view = parameter.value;
  view.weight = nullptr;
  view.buffer.handle = moments.buffer.handle;
  view.buffer.byte_offset += moments.buffer.byte_offset;
  view.buffer.byte_size = moments.buffer.byte_size;
  return view;
}

void copy_stored(const SafetensorsFile& file, const std::string& name, const Tensor& to) {
  const Tensor from = file.tensor(name);
  if (from.dtype != to.dtype || from.rank != to.rank || from.shape != to.shape) {
    throw FileError(concat(file.path().string(), ": ", name, " is ", to_string(from), "; expected ",
                           to_string(to)));
  }
  std::memcpy(to.data<char>(), from.data<char>(), static_cast<size_t>(to.bytes()));
}

}  // namespace

std::vector<NamedTensor> named_parameters(const model::GPT& model) {
  std::vector<NamedTensor> tensors;
  for (const model::Parameter& p : model.parameters().list()) {
    tensors.emplace_back(p.spec.name, p.value);
  }
  return tensors;
}

std::vector<NamedTensor> named_moments(const model::GPT& model, const optim::AdamW& optimizer) {
  std::vector<NamedTensor> tensors;
  for (const model::Parameter& p : model.parameters().list()) {
    tensors.emplace_back("m." + p.spec.name, moment_of(p, optimizer.first_moment()));
    tensors.emplace_back("v." + p.spec.name, moment_of(p, optimizer.second_moment()));
  }
  return tensors;
}

void save_model(const Path& path, const model::GPT& model, std::string_view tokenizer_json) {
  save_model_folder(path, model.config(), named_parameters(model), tokenizer_json);
}

std::unique_ptr<model::GPT> load_model(const Path& path, const model::GPTOptions& options) {
  const ModelFolder folder = load_model_folder(resolve_model(path));
  model::GPTOptions uninitialized = options;
  uninitialized.initialize = false;
  auto model = std::make_unique<model::GPT>(folder.config, 0, uninitialized);
  restore_parameters(folder.weights, *model);
  return model;
}

void restore_parameters(const SafetensorsFile& file, model::GPT& model) {
  for (model::Parameter& p : model.parameters().list()) copy_stored(file, p.spec.name, p.value);
  model.parameters().changed();
}

void restore_moments(const SafetensorsFile& file, const model::GPT& model,
                     optim::AdamW& optimizer) {
  for (const auto& [name, tensor] : named_moments(model, optimizer))
    copy_stored(file, name, tensor);
}

}  // namespace msltx::exchange
