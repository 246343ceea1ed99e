#include "msltx/model/position_tables.h"

#include <cmath>
#include <span>

#include "msltx/model/rope.h"
#include "msltx/model/sinusoids.h"

namespace msltx::model {
namespace {

// ALiBi (Press et al. 2022): 2^(-8 i / n) for n heads, n a power of two; for other counts those of
// the power of two below, then every second of the one above.
void fill_alibi_slopes(float* slopes, int64_t heads) {
  int64_t power = 1;
  while (2 * power <= heads) power *= 2;
  for (int64_t h = 0; h < heads; ++h) {
    const auto i = static_cast<double>(h < power ? h + 1 : 2 * (h - power) + 1);
    const auto n = static_cast<double>(h < power ? power : 2 * power);
    slopes[h] = static_cast<float>(std::exp2(-8 * i / n));
  }
}

}  // namespace

int64_t PositionTables::bytes(const GPTConfig& config) {
  const auto bytes_of = [&](Position position, int64_t count) {
    return config.positions.has(position) ? Arena::aligned(count * size_of(DType::float32)) : 0;
  };
  return bytes_of(Position::rope, config.context_length * config.head_dim) +
         bytes_of(Position::alibi, config.num_heads) +
         bytes_of(Position::relative_xl, config.context_length * config.embedding_dim);
}

PositionTables::PositionTables(const GPTConfig& config) : arena_(bytes(config)) {
  const auto table = [&](int64_t rows, int64_t columns) {
    return arena_.allocate(DType::float32, {rows, columns});
  };
  if (config.positions.has(Position::rope)) {
    rope = table(config.context_length, config.head_dim);
    fill_rope_table(config, std::span(rope.data(), static_cast<size_t>(rope.size())));
  }
  if (config.positions.has(Position::alibi)) {
    alibi_slopes = arena_.allocate(DType::float32, {config.num_heads});
    fill_alibi_slopes(alibi_slopes.data(), config.num_heads);
  }
  if (config.positions.has(Position::relative_xl)) {
    distances = table(config.context_length, config.embedding_dim);
    fill_sinusoids(distances);
  }
}

}  // namespace msltx::model
