// A model of a few dozen numbers, all of them `value`, to save and load.
#pragma once

#include <gtest/gtest.h>

#include <span>
#include <string>
#include <vector>

#include "msltx/exchange/model_folder.h"
#include "msltx/model/parameter_list.h"

namespace msltx::exchange {

struct TinyModel {
  explicit TinyModel(float fill) : value(fill) {
    config = model::complete({.vocab_size = 5,
                              .context_length = 4,
                              .embedding_dim = 4,
                              .num_layers = 1,
                              .num_heads = 2,
                              .ff_dim = 6});
    for (const auto& spec : model::parameter_list(config)) {
      numbers.emplace_back(static_cast<size_t>(spec.size()), fill);
      parameters.emplace_back(spec.name,
                              Tensor::host(numbers.back().data(), DType::float32, spec.shape));
    }
  }

  float value;
  model::GPTConfig config;
  std::vector<std::vector<float>> numbers;
  std::vector<NamedTensor> parameters;
};

inline bool all_are(const SafetensorsFile& file, float value) {
  for (const std::string& name : file.names()) {
    const Tensor t = file.tensor(name);
    for (float x : std::span(t.data(), static_cast<size_t>(t.size()))) {
      if (x != value) return false;
    }
  }
  return !file.names().empty();
}

}  // namespace msltx::exchange
