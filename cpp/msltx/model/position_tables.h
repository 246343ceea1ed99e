// PositionTables: what all blocks read of the positions, computed once, from the configuration
// alone.
#pragma once

#include <cstdint>

#include "msltx/base/arena.h"
#include "msltx/model/config.h"

namespace msltx::model {

class PositionTables {
 public:
  explicit PositionTables(const GPTConfig& config);
  static int64_t bytes(const GPTConfig& config);

  // Each undefined where its kind of position is not there.
  Tensor rope;          // (context_length, hs), as ops::rope_forward takes it
  Tensor alibi_slopes;  // (nh)
  Tensor distances;     // (context_length, C), relative_xl: sinusoids of the distances from 0 on

 private:
  Arena arena_;
};

}  // namespace msltx::model
