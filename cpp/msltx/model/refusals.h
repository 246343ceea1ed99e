// Settings that are fine apart and refused together: one table, which configurations are checked
// by, which docs/formats.md shows and which the tests go through.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "msltx/model/config.h"

namespace msltx::model {

struct Refusal {
  std::string_view settings;  // as docs/formats.md names them
  std::string_view reason;
  // What is wrong with a configuration (field, value, limit); empty where nothing is. The open
  // fields of the configuration are filled.
  std::string (*problem)(const GPTConfig& config);
};

std::span<const Refusal> refusals();

// Throws ValueError with the first problem.
void check_refusals(const GPTConfig& config);

}  // namespace msltx::model
