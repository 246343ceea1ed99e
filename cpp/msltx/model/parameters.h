// Parameters: the values a model learns and their gradients, an arena each. Within an arena the
// tensors that decay (matrices) come first, then those that do not; in each part they stand in the
// order in which the backward pass finishes them (head, blocks from last to first, embeddings), so
// that an optimizer works on two segments and averaging over machines could overlap with the
// backward.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string_view>
#include <vector>

#include "msltx/base/arena.h"
#include "msltx/model/config.h"
#include "msltx/model/parameter_list.h"
#include "msltx/ops/weight.h"

namespace msltx::model {

struct Parameter {
  ParameterSpec spec;
  Tensor value;
  Tensor grad;  // undefined until ensure_gradients()
  Weight weight;
};

class Parameters {
 public:
  // Memory for every parameter of a complete configuration; values are zero.
  explicit Parameters(const GPTConfig& config);
  Parameters(const Parameters&) = delete;
  Parameters& operator=(const Parameters&) = delete;

  // In model order: embed, blocks 0 ..., norm, head.
  std::deque<Parameter>& list() { return list_; }
  const std::deque<Parameter>& list() const { return list_; }
  Parameter* find(std::string_view name);
  // Throws ValueError naming the nearest parameters.
  Parameter& at(std::string_view name);

  // Everything in one row of float32, alignment gaps (always zero) included.
  Tensor values() const { return values_; }
  Tensor gradients() const { return gradients_; }
  // Numbers in values() that decay: [0, decayed()).
  int64_t decayed() const { return decayed_; }

  void ensure_gradients();
  void release_gradients();
  bool has_gradients() const { return gradients_.defined(); }

  // Say that values were changed, so that backends refresh what they derived from them.
  void changed();

 private:
  std::deque<Parameter> list_;
  std::vector<Parameter*> arena_order_;
  Arena value_arena_, gradient_arena_;
  Tensor values_, gradients_;
  int64_t decayed_ = 0;
};

// Bytes of one arena over the parameters of a configuration (values, gradients, or one moment).
int64_t parameter_arena_bytes(const GPTConfig& config);

// Draws all values from (seed, parameter name), so that one parameter's values depend on nothing
// else.
void initialize(Parameters& parameters, const GPTConfig& config, uint64_t seed);

}  // namespace msltx::model
