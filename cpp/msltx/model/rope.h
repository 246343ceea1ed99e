// The angles of rotary position embedding (positions: rope): how fast each pair of a head turns,
// and the table of cosines and sines that ops::rope_forward takes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "msltx/model/config.h"

namespace msltx::model {

// Radians per position of the head_dim / 2 pairs, from rope_theta and rope_scaling.
std::vector<double> rope_frequencies(const GPTConfig& config);

// Rows of head_dim floats, cos and sin of each pair in turn, for the positions from 0 on; as many
// as `table` has. With yarn both are multiplied by its attention_factor.
void fill_rope_table(const GPTConfig& config, std::span<float> table);

}  // namespace msltx::model
