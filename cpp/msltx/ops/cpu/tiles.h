// How the matrix products of the cpu backend are cut into tasks: by shape alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "msltx/base/arena.h"
#include "msltx/base/tensor.h"
#include "msltx/ops/cpu/onednn.h"

namespace msltx::ops::cpu {

inline constexpr int64_t kFloat = sizeof(float);

constexpr int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t round_up(int64_t a, int64_t b) { return divide_up(a, b) * b; }

// Equal tiles of at most `limit`, a multiple of `unit` where that fits.
constexpr int64_t even_tile(int64_t size, int64_t limit, int64_t unit = 16) {
  return std::min(limit,
                  round_up(divide_up(size, divide_up(std::max<int64_t>(size, 1), limit)), unit));
}

inline bool close_rows(const Tensor& t) { return t.stride(0) == t.dim(1) || t.dim(0) == 1; }

inline void copy_rows(float* to, int64_t to_stride, const float* from, int64_t from_stride,
                      int64_t rows, int64_t cols) {
  for (int64_t r = 0; r < rows; ++r) {
    std::memcpy(to + r * to_stride, from + r * from_stride, static_cast<size_t>(cols * kFloat));
  }
}

// What a worker needs for one tile of a product: oneDNN's scratch, and room to bring together the
// rows of an operand that lie apart in memory (elements of it; 0 where they are close).
struct TileScratch {
  int64_t x = 0, y = 0, bytes = 0;  // offsets

  TileScratch(int64_t inner, int64_t x_size, int64_t y_size) {
    x = Arena::aligned(product_scratch(inner));
    y = x + Arena::aligned(x_size * kFloat);
    bytes = y + Arena::aligned(y_size * kFloat);
  }
  static float* at(std::byte* scratch, int64_t offset) {
    return reinterpret_cast<float*>(scratch + offset);
  }
};

// A weight gradient (O, C) in tiles, each summed over all rows by one task.
class GradientCut {
 public:
  // At most 384 x 384, and at least 8 tiles where that leaves them 64 outputs: on one core every
  // such tile is within 3 % of the others, wide ones (in C) before tall ones. Their number is a
  // multiple of 4 where it can be, to go evenly over workers.
  GradientCut(int64_t O, int64_t C, int64_t at_least = 8) : O_(O), C_(C) {
    inputs_ = even_tile(C, kMaxSide);
    across_ = divide_up(C, inputs_);
    const int64_t most = std::max(divide_up(O, kMaxSide), O / 64);
    for (int64_t parts = divide_up(O, kMaxSide); parts <= most; ++parts) {
      if (parts_ > 0 && evenness(parts) < evenness(parts_)) continue;
      parts_ = parts;
      if (parts * across_ >= at_least && evenness(parts) == 4) break;
    }
  }

  struct Tile {
    int64_t output, outputs, input, inputs;
  };
  static constexpr int64_t kMaxSide = 384;
  int64_t tiles() const { return parts_ * across_; }
  Tile tile(int64_t i) const {
    const int64_t output = edge(i / across_), input = i % across_ * inputs_;
    return {output, edge(i / across_ + 1) - output, input, std::min(inputs_, C_ - input)};
  }

 private:
  int64_t evenness(int64_t parts) const {
    const int64_t tiles = parts * across_;
    return tiles % 4 == 0 ? 4 : tiles % 2 == 0 ? 2 : 1;
  }
  // Where a part begins: parts differ by at most 16 outputs.
  int64_t edge(int64_t part) const { return std::min(O_, part * divide_up(O_, 16) / parts_ * 16); }

  int64_t O_, C_, inputs_, across_, parts_ = 0;
};

}  // namespace msltx::ops::cpu
