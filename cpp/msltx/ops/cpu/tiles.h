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
struct GradientCut {
  int64_t outputs, inputs;  // of a tile
  int64_t across;           // tiles beside each other
  int64_t tiles;

  // From tiles of 384 x 384, which reread their operands least, to smaller ones where those would
  // leave workers without work. Each was within 2 % of the others on one core.
  GradientCut(int64_t O, int64_t C) {
    constexpr int64_t kTiles[][2] = {{384, 384}, {192, 384}, {192, 192}, {96, 192}, {64, 192}};
    constexpr int64_t kManyTiles = 12;
    for (const auto& [o, c] : kTiles) {
      outputs = even_tile(O, o);
      inputs = even_tile(C, c);
      across = divide_up(C, inputs);
      tiles = divide_up(O, outputs) * across;
      if (tiles >= kManyTiles) return;
    }
  }
};

}  // namespace msltx::ops::cpu
