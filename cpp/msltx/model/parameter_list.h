// The parameters of a configuration: names, shapes and what each one is. Values live elsewhere.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "msltx/model/config.h"

namespace msltx::model {

// What initialization and weight decay go by.
enum class ParameterKind : uint8_t {
  token_embedding,     // rows looked up by token; also the output where weights are tied
  position_embedding,  // rows looked up by place
  matrix,              // of a linear layer
  residual_matrix,     // of a linear layer whose output joins the residual stream
  bias,
  norm_weight,
};

struct ParameterSpec {
  std::string name;
  std::vector<int64_t> shape;
  ParameterKind kind;
  int64_t layer = -1;  // of the block it belongs to; -1 outside the blocks

  int64_t size() const;
};

// In model order: embed, blocks 0 ... num_layers - 1, norm, head. `config` is complete.
std::vector<ParameterSpec> parameter_list(const GPTConfig& config);

// Numbers in all of them.
int64_t parameter_count(const GPTConfig& config);

}  // namespace msltx::model
