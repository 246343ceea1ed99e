#include "msltx/model/parameters.h"

#include <algorithm>

#include "msltx/base/error.h"

namespace msltx::model {
namespace {

bool decays(const ParameterSpec& spec) {
  return spec.shape.size() >= 2 && spec.kind != ParameterKind::bias;
}

// Later layers finish earlier in the backward pass; the embeddings finish last.
int64_t finish_order(const ParameterSpec& spec, int64_t num_layers) {
  const bool embedding = spec.name.starts_with("embed.");
  if (spec.layer >= 0) return num_layers - spec.layer;
  return embedding ? num_layers + 1 : 0;
}

int64_t arena_bytes(const std::vector<ParameterSpec>& specs) {
  int64_t bytes = 0;
  for (const ParameterSpec& spec : specs) {
    bytes += Arena::aligned(spec.size() * size_of(DType::float32));
  }
  return bytes;
}

Tensor whole(const Arena& arena) {
  return Tensor::host(arena.data(), DType::float32, {arena.capacity() / size_of(DType::float32)});
}

}  // namespace

int64_t parameter_arena_bytes(const GPTConfig& config) {
  return arena_bytes(parameter_list(config));
}

Parameters::Parameters(const GPTConfig& config) : value_arena_(parameter_arena_bytes(config)) {
  for (ParameterSpec& spec : parameter_list(config)) {
    Parameter& parameter = list_.emplace_back();
    parameter.spec = std::move(spec);
    arena_order_.push_back(&parameter);
  }
  std::stable_sort(arena_order_.begin(), arena_order_.end(), [&](Parameter* a, Parameter* b) {
    if (decays(a->spec) != decays(b->spec)) return decays(a->spec);
    return finish_order(a->spec, config.num_layers) < finish_order(b->spec, config.num_layers);
  });
  for (Parameter* parameter : arena_order_) {
    parameter->value = value_arena_.allocate(DType::float32, parameter->spec.shape);
    parameter->value.weight = &parameter->weight;
    if (decays(parameter->spec)) decayed_ = value_arena_.used() / size_of(DType::float32);
  }
  values_ = whole(value_arena_);
}

Parameter* Parameters::find(std::string_view name) {
  for (Parameter& parameter : list_) {
    if (parameter.spec.name == name) return &parameter;
  }
  return nullptr;
}

Parameter& Parameters::at(std::string_view name) {
  if (Parameter* parameter = find(name)) return *parameter;
  throw ValueError(concat("the model has no parameter ", name, "; its ", list_.size(),
                          " parameters go from ", list_.front().spec.name, " to ",
                          list_.back().spec.name));
}

void Parameters::ensure_gradients() {
  if (has_gradients()) return;
  gradient_arena_ = Arena(value_arena_.capacity());
  for (Parameter* parameter : arena_order_) {
    parameter->grad = gradient_arena_.allocate(DType::float32, parameter->spec.shape);
  }
  gradients_ = whole(gradient_arena_);
}

void Parameters::release_gradients() {
  for (Parameter& parameter : list_) parameter.grad = {};
  gradients_ = {};
  gradient_arena_ = {};
}

void Parameters::changed() {
  for (Parameter& parameter : list_) ++parameter.weight.version;
}

}  // namespace msltx::model
