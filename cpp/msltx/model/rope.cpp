#include "msltx/model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace msltx::model {
namespace {

constexpr double kTurn = 2 * std::numbers::pi;

// NTK-aware scaling ("dynamic"): the base grows so that the slowest pair is stretched by as much as
// the context exceeds the trained one. The whole context_length counts, not how much of it is in
// use, so that a cached key keeps its angle.
double dynamic_theta(const GPTConfig& c, double theta) {
  const RopeScaling& s = c.rope_scaling;
  const auto trained = static_cast<double>(s.original_context_length);
  const double length = std::max(static_cast<double>(c.context_length), trained);
  const auto size = static_cast<double>(c.head_dim);
  if (c.head_dim <= 2) return theta;  // its only pair turns by one radian whatever the base
  return theta * std::pow(s.factor * length / trained - (s.factor - 1), size / (size - 2));
}

// YaRN: pairs that turn often within the trained context stay, those that turn seldom are
// stretched, in between one fades into the other (Peng et al. 2023). The pair that turns `turns`
// times within it, as a fraction of an index:
double pair_of(const GPTConfig& c, double turns) {
  const auto trained = static_cast<double>(c.rope_scaling.original_context_length);
  return static_cast<double>(c.head_dim) * std::log(trained / (turns * kTurn)) /
         (2 * std::log(c.rope_theta));
}

double yarn(const GPTConfig& c, double frequency, double pair) {
  const RopeScaling& s = c.rope_scaling;
  const double low = std::max(std::floor(pair_of(c, s.beta_fast)), 0.0);
  const double high =
      std::min(std::ceil(pair_of(c, s.beta_slow)), static_cast<double>(c.head_dim - 1));
  const double width = high == low ? 0.001 : high - low;
  const double stretched = std::clamp((pair - low) / width, 0.0, 1.0);
  return stretched * frequency / s.factor + (1 - stretched) * frequency;
}

// Llama 3: by wavelength, with a linear transition in frequency.
double llama3(const RopeScaling& s, double frequency) {
  const double turns = static_cast<double>(s.original_context_length) * frequency / kTurn;
  if (turns < s.low_frequency_factor) return frequency / s.factor;
  if (turns > s.high_frequency_factor) return frequency;
  const double width = s.high_frequency_factor - s.low_frequency_factor;
  const double kept = width == 0 ? 1 : (turns - s.low_frequency_factor) / width;
  return (1 - kept) * frequency / s.factor + kept * frequency;
}

double scaled(const GPTConfig& c, double frequency, double pair) {
  switch (c.rope_scaling.kind) {
    case RopeScalingKind::none:
    case RopeScalingKind::dynamic:  // in the base
      return frequency;
    case RopeScalingKind::linear:
      return frequency / c.rope_scaling.factor;
    case RopeScalingKind::yarn:
      return yarn(c, frequency, pair);
    case RopeScalingKind::llama3:
      return llama3(c.rope_scaling, frequency);
  }
  return frequency;
}

}  // namespace

std::vector<double> rope_frequencies(const GPTConfig& config) {
  const bool dynamic = config.rope_scaling.kind == RopeScalingKind::dynamic;
  const double theta = dynamic ? dynamic_theta(config, config.rope_theta) : config.rope_theta;
  std::vector<double> frequencies(static_cast<size_t>(config.head_dim / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const auto pair = static_cast<double>(i);
    const double exponent = 2 * pair / static_cast<double>(config.head_dim);
    frequencies[i] = scaled(config, std::pow(theta, -exponent), pair);
  }
  return frequencies;
}

void fill_rope_table(const GPTConfig& config, std::span<float> table) {
  const std::vector<double> frequencies = rope_frequencies(config);
  const RopeScaling& scaling = config.rope_scaling;
  const double factor = scaling.kind == RopeScalingKind::yarn ? scaling.attention_factor : 1;
  const size_t width = 2 * frequencies.size();
  for (size_t first = 0; width > 0 && first + width <= table.size(); first += width) {
    const auto position = static_cast<double>(first / width);
    for (size_t i = 0; i < frequencies.size(); ++i) {
      const double angle = position * frequencies[i];
      table[first + 2 * i] = static_cast<float>(factor * std::cos(angle));
      table[first + 2 * i + 1] = static_cast<float>(factor * std::sin(angle));
    }
  }
}

}  // namespace msltx::model
