// Initial values. gpt2: normal with standard deviation 0.02 (Radford et al. 2019); xavier: uniform
// within sqrt(6 / (in + out)) (Glorot and Bengio 2010); kaiming: normal with sqrt(2 / in) (He et
// al. 2015). Residual projections shrink with depth: by 1 / sqrt(2 L) (total), by 1 / sqrt(2 (layer
// + 1)) (layer), or not at all. Embeddings are normal with 0.02 in every scheme; biases are 0,
// gains 1.
#include <algorithm>
#include <cmath>

#include "msltx/base/executor.h"
#include "msltx/base/philox.h"
#include "msltx/model/parameters.h"

namespace msltx::model {
namespace {

constexpr float kGpt2Deviation = 0.02f;

double depth_factor(const ParameterSpec& spec, const GPTConfig& config) {
  if (spec.kind != ParameterKind::residual_matrix) return 1;
  switch (config.depth_scaling) {
    case DepthScaling::total:
      return 1 / std::sqrt(2.0 * static_cast<double>(config.num_layers));
    case DepthScaling::layer:
      return 1 / std::sqrt(2.0 * static_cast<double>(spec.layer + 1));
    case DepthScaling::none:
      return 1;
  }
  return 1;
}

// Draws come in fours from one counter; element i is draw i of the parameter's own stream.
template <class Fill>
void draw(float* values, int64_t size, uint64_t seed, const std::string& name, Fill&& fill) {
  constexpr int64_t kBlock = 1 << 16;
  const uint64_t hash = hash_name(name);
  Executor::global().parallel_for((size + kBlock - 1) / kBlock, [&](int64_t block, int) {
    const int64_t end = std::min(size, (block + 1) * kBlock);
    for (int64_t i = block * kBlock; i < end; i += 4) {
      const auto words =
          philox(seed, RandomStream::initialization, static_cast<uint32_t>(hash >> 32),
                 static_cast<uint32_t>(hash) ^ static_cast<uint32_t>(i >> 34),
                 static_cast<uint32_t>(i >> 2));
      const auto numbers = fill(words);
      for (int64_t j = 0; j < std::min<int64_t>(4, end - i); ++j) {
        values[i + j] = numbers[static_cast<size_t>(j)];
      }
    }
  });
}

void draw_normal(Parameter& p, uint64_t seed, float deviation) {
  draw(p.value.data(), p.spec.size(), seed, p.spec.name, [&](const Philox4& w) {
    const auto a = normal_pair(w[0], w[1]), b = normal_pair(w[2], w[3]);
    return std::array<float, 4>{a[0] * deviation, a[1] * deviation, b[0] * deviation,
                                b[1] * deviation};
  });
}

void draw_uniform(Parameter& p, uint64_t seed, float limit) {
  draw(p.value.data(), p.spec.size(), seed, p.spec.name, [&](const Philox4& w) {
    std::array<float, 4> numbers;
    for (size_t j = 0; j < 4; ++j) numbers[j] = (2 * uniform_float(w[j]) - 1) * limit;
    return numbers;
  });
}

void draw_matrix(Parameter& p, const GPTConfig& config, uint64_t seed) {
  const auto out = static_cast<double>(p.spec.shape[0]), in = static_cast<double>(p.spec.shape[1]);
  const double factor = depth_factor(p.spec, config);
  switch (config.initialization) {
    case Initialization::gpt2:
      return draw_normal(p, seed, static_cast<float>(kGpt2Deviation * factor));
    case Initialization::xavier:
      return draw_uniform(p, seed, static_cast<float>(std::sqrt(6 / (in + out)) * factor));
    case Initialization::kaiming:
      return draw_normal(p, seed, static_cast<float>(std::sqrt(2 / in) * factor));
  }
}

}  // namespace

void initialize(Parameters& parameters, const GPTConfig& config, uint64_t seed) {
  for (Parameter& p : parameters.list()) {
    switch (p.spec.kind) {
      case ParameterKind::token_embedding:
      case ParameterKind::position_embedding:
        draw_normal(p, seed, kGpt2Deviation);
        break;
      case ParameterKind::matrix:
      case ParameterKind::residual_matrix:
        draw_matrix(p, config, seed);
        break;
      case ParameterKind::bias:
        std::fill_n(p.value.data(), p.spec.size(), 0.0f);
        break;
      case ParameterKind::norm_weight:
        std::fill_n(p.value.data(), p.spec.size(), 1.0f);
        break;
    }
  }
  parameters.changed();
}

}  // namespace msltx::model
