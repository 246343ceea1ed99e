// The GPT-2 models that training is measured at, as bench/shapes.py has them.
#pragma once

#include <cstdint>

namespace msltx::bench {

// A model's shape and the batch it is trained with.
struct Model {
  const char* name;
  int64_t C, layers, heads, V, T, B;
  int64_t rows() const { return B * T; }
  int64_t head_size() const { return C / heads; }
  int64_t parameters() const { return layers * (12 * C + 13) * C + (V + T + 2) * C; }
  // Operations of both passes of a model with so many parameters, attention counted whole.
  double flops_per_token(int64_t count) const {
    return static_cast<double>(6 * count + 12 * layers * T * C);
  }
};
constexpr Model kModels[] = {{"1m", 128, 4, 4, 1776, 64, 16},
                             {"4m", 256, 4, 8, 1776, 128, 16},
                             {"11m", 384, 6, 6, 1776, 256, 16},
                             {"25m", 384, 8, 6, 32000, 256, 8},
                             {"124m", 768, 12, 12, 50257, 256, 4}};

}  // namespace msltx::bench
