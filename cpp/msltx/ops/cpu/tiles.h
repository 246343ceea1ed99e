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

// Equal tiles of at most `limit`, a multiple of `unit` where that fits; never 0, even of nothing.
constexpr int64_t even_tile(int64_t size, int64_t limit, int64_t unit = 16) {
  const int64_t some = std::max<int64_t>(size, 1);
  return std::min(limit, round_up(divide_up(some, divide_up(some, limit)), unit));
}

inline bool close_rows(const Tensor& t) { return t.stride(0) == t.dim(1) || t.dim(0) == 1; }

template <class T>
void copy_rows(T* to, int64_t to_stride, const T* from, int64_t from_stride, int64_t rows,
               int64_t cols) {
  for (int64_t r = 0; r < rows; ++r) {
    std::memcpy(to + r * to_stride, from + r * from_stride, static_cast<size_t>(cols) * sizeof(T));
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
  template <class T = float>
  static T* at(std::byte* scratch, int64_t offset) {
    return reinterpret_cast<T*>(scratch + offset);
  }
};

// A weight gradient (O, C) in tiles, each summed over all rows by one task.
class GradientCut {
 public:
  static constexpr int64_t kMaxSide = 384;

  // Tiles of at most 384 x 384: as many as `tiles_wanted` and a multiple of 4, to go evenly over
  // workers, where that leaves them large enough; then those that reread their operands least.
  GradientCut(int64_t O, int64_t C, int64_t tiles_wanted = 8) : O_(O), C_(C) {
    const int64_t wanted = std::min(tiles_wanted, largest_count());
    const int64_t down = std::max<int64_t>(1, divide_up(O, kMaxSide));
    const int64_t across = std::max<int64_t>(1, divide_up(C, kMaxSide));
    int64_t least = 0;
    for (int64_t a = across; a < across + 8; ++a) {
      for (int64_t d = down; d < down + 8; ++d) {
        if (a * d < wanted || (a * d) % std::min<int64_t>(wanted, 4) != 0) continue;
        const int64_t reads = O * a + C * d;
        if (least > 0 && reads >= least) continue;
        least = reads, down_ = d, across_ = a;
      }
    }
  }

  struct Tile {
    int64_t output, outputs, input, inputs;
  };
  int64_t tiles() const { return down_ * across_; }
  Tile tile(int64_t i) const {
    const int64_t d = i / across_, a = i % across_;
    const int64_t output = edge(O_, d, down_, 8), input = edge(C_, a, across_, 48);
    return {output, edge(O_, d + 1, down_, 8) - output, input,
            edge(C_, a + 1, across_, 48) - input};
  }

 private:
  // Smaller tiles than 96 x 384 are slower (5 % at 64 x 192), yet half the workers idle are slower
  // still: a small gradient has 4 tiles or 2, down to 64 x 128.
  int64_t largest_count() const {
    const int64_t size = O_ * C_;
    if (size >= 8 * 96 * 384) return 8;
    return std::clamp<int64_t>(size / (64 * 128) / 2 * 2, 1, 4);
  }
  // Where a part begins, of parts of about equal size that are multiples of `unit`: sgemm's kernel
  // makes 8 outputs by 48 inputs at a time, and 5 % are lost to what is left over at width 256.
  static int64_t edge(int64_t size, int64_t part, int64_t parts, int64_t unit) {
    return std::min(size, part * divide_up(size, unit) / parts * unit);
  }

  int64_t O_, C_, down_ = 1, across_ = 1;
};

}  // namespace msltx::ops::cpu
