// The shared row functions of the cpu backend against the C library in double precision.
#include "msltx/ops/cpu/rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "ops/cpu_targets.h"

namespace msltx::ops::cpu {
namespace {

using CpuRows = CpuTarget;
INSTANTIATE_TEST_SUITE_P(Targets, CpuRows, cpu_targets(), cpu_target_name);

constexpr double kSqrt2OverPi = 0.7978845608028654;
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

double gelu_tanh(double x) {
  const double u = kSqrt2OverPi * (x + 0.044715 * x * x * x);
  return x / (1 + std::exp(-2 * u));
}
double gelu_tanh_derivative(double x) {
  const double u = kSqrt2OverPi * (x + 0.044715 * x * x * x);
  const double gate = 1 / (1 + std::exp(-2 * u)), rest = 1 / (1 + std::exp(2 * u));
  const double slope = 2 * kSqrt2OverPi * x * (1 + 3 * 0.044715 * x * x);
  return gate + (gate * rest == 0 ? 0 : slope * gate * rest);
}
double gelu_erf(double x) { return x * 0.5 * std::erfc(-x / std::sqrt(2.0)); }
double gelu_erf_derivative(double x) {
  const double bell = std::exp(-0.5 * x * x) / std::sqrt(2 * 3.141592653589793);
  return 0.5 * std::erfc(-x / std::sqrt(2.0)) + (bell == 0 ? 0 : x * bell);
}

// Every magnitude from the least denormal to the largest float, both signs, and a dense grid where
// the functions bend.
std::vector<float> probes() {
  std::vector<float> x{0.0f, -0.0f};
  for (int e = -149; e < 128; ++e) {
    for (double m : {1.0, 1.1, 1.4142, 1.7, 1.99}) {
      x.push_back(static_cast<float>(std::ldexp(m, e)));
      x.push_back(-x.back());
    }
  }
  for (int i = -160000; i <= 160000; ++i) x.push_back(static_cast<float>(i) * 1e-4f);
  return x;
}

TEST_P(CpuRows, ActivationsAtEveryMagnitude) {
  for (Activation activation : {Activation::gelu_tanh, Activation::gelu}) {
    const bool tanh = activation == Activation::gelu_tanh;
    const std::vector<float> x = probes();
    const auto n = static_cast<int64_t>(x.size());
    std::vector<float> out = x, ones(x.size(), 1.0f), slope(x.size(), kNan);
    bias_activation_rows(out.data(), nullptr, nullptr, 1, n, n, n, activation);
    activation_backward_rows(slope.data(), ones.data(), x.data(), 1, n, n, n, n, activation);
    double worst = 0, worst_slope = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double want = tanh ? gelu_tanh(x[i]) : gelu_erf(x[i]);
      const double want_slope = tanh ? gelu_tanh_derivative(x[i]) : gelu_erf_derivative(x[i]);
      ASSERT_FALSE(std::isnan(out[i])) << x[i];
      ASSERT_FALSE(std::isnan(slope[i])) << x[i];
      // Relative to |x|: the gate itself is what is approximated. A denormal product has one unit.
      worst =
          std::max(worst, (std::abs(out[i] - want) - 2e-45) / (std::abs(double{x[i]}) + 1e-300));
      worst_slope = std::max(worst_slope, std::abs(slope[i] - want_slope));
    }
    EXPECT_LE(worst, 2.5e-7);
    EXPECT_LE(worst_slope, 5e-7);
  }
}

TEST_P(CpuRows, ActivationsAtInfinityAndNan) {
  for (Activation activation : {Activation::gelu_tanh, Activation::gelu}) {
    const float x[] = {kInf, kNan};
    float out[] = {kInf, kNan}, slope[2];
    const float ones[] = {1, 1};
    bias_activation_rows(out, nullptr, nullptr, 1, 2, 2, 2, activation);
    activation_backward_rows(slope, ones, x, 1, 2, 2, 2, 2, activation);
    EXPECT_EQ(out[0], kInf);
    EXPECT_EQ(slope[0], 1.0f);
    EXPECT_TRUE(std::isnan(out[1]));
    EXPECT_TRUE(std::isnan(slope[1]));
  }
}

TEST_P(CpuRows, BiasActivationKeepsPreAndLeavesTheGapsAlone) {
  for (int64_t cols : {1, 7, 15, 16, 17, 33, 130}) {
    const int64_t rows = 3, out_stride = cols + 3, pre_stride = cols + 1;
    std::vector<float> out(static_cast<size_t>(rows * out_stride), 7.0f),
        pre(static_cast<size_t>(rows * pre_stride), 9.0f), bias(static_cast<size_t>(cols));
    for (size_t c = 0; c < bias.size(); ++c) bias[c] = static_cast<float>(c) * 0.01f - 8.0f;
    bias_activation_rows(out.data(), pre.data(), bias.data(), rows, cols, out_stride, pre_stride,
                         Activation::gelu_tanh);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < out_stride; ++c) {
        const float got = out[static_cast<size_t>(r * out_stride + c)];
        if (c >= cols) {
          EXPECT_EQ(got, 7.0f);
          continue;
        }
        const float sum = 7.0f + bias[static_cast<size_t>(c)];
        EXPECT_EQ(pre[static_cast<size_t>(r * pre_stride + c)], sum);
        EXPECT_NEAR(got, gelu_tanh(sum), 2e-7 * std::abs(sum));
      }
      EXPECT_EQ(pre[static_cast<size_t>(r * pre_stride + cols)], 9.0f);
    }
  }
}

TEST_P(CpuRows, ColumnSums) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-1, 3);
  for (int64_t cols : {1, 5, 16, 31, 128, 131, 300}) {
    for (int64_t rows : {0, 1, 63, 64, 65, 1000}) {
      const int64_t stride = cols + 2;
      std::vector<float> x(static_cast<size_t>(rows * stride + 1));
      for (float& v : x) v = uniform(random);
      std::vector<float> sums(static_cast<size_t>(cols) + 1, 5.0f);
      column_sums(sums.data(), x.data(), rows, cols, stride);
      for (int64_t c = 0; c < cols; ++c) {
        double want = 0, magnitude = 0;
        for (int64_t r = 0; r < rows; ++r) {
          want += x[static_cast<size_t>(r * stride + c)];
          magnitude += std::abs(x[static_cast<size_t>(r * stride + c)]);
        }
        EXPECT_NEAR(sums[static_cast<size_t>(c)], want, 5e-7 * magnitude) << rows << "x" << cols;
      }
      EXPECT_EQ(sums.back(), 5.0f);
    }
  }
}

TEST_P(CpuRows, ExponentialsAndTheirSums) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal(0, 5);
  for (int64_t V : {1, 2, 15, 16, 33, 1000, 1776, 50257}) {
    std::vector<float> logits(static_cast<size_t>(V) + 1, 3.0f);
    for (int64_t v = 0; v < V; ++v) logits[static_cast<size_t>(v)] = normal(random);
    if (V > 20) logits[7] = -kInf;
    const std::vector<float> before = logits;
    const float largest = *std::max_element(before.begin(), before.end() - 1);
    double sum = 0;
    for (int64_t v = 0; v < V; ++v) {
      sum += std::exp(double{before[static_cast<size_t>(v)]} - double{largest});
    }
    EXPECT_NEAR(log_sum_exp(logits.data(), V), double{largest} + std::log(sum), 1e-6);
    EXPECT_EQ(logits, before);
    double total = 0;
    EXPECT_EQ(exponentials_row(logits.data(), V, &total), largest);
    EXPECT_NEAR(total, sum, 1e-6 * sum);
    scale_row({logits.data(), V}, {logits.data(), V}, V, static_cast<float>(0.5 / total));
    for (int64_t v = 0; v < V; ++v) {
      const double e = std::exp(double{before[static_cast<size_t>(v)]} - double{largest});
      EXPECT_NEAR(logits[static_cast<size_t>(v)], 0.5 * e / sum, 3e-7);
    }
    EXPECT_EQ(logits.back(), 3.0f);
  }
}

TEST_P(CpuRows, LogSumExpOfExtremes) {
  std::vector<float> x(40, -kInf);
  EXPECT_EQ(log_sum_exp(x.data(), 40), -std::numeric_limits<double>::infinity());
  x[3] = 1e38f;
  x[39] = -1e38f;
  EXPECT_EQ(log_sum_exp(x.data(), 40), double{1e38f});
  x[20] = kNan;
  EXPECT_TRUE(std::isnan(log_sum_exp(x.data(), 40)));
}

TEST_P(CpuRows, ANanAmongNothingButMinusInfinityIsSeen) {
  for (int64_t n : {1, 2, 15, 16, 17, 40, 200}) {
    for (int64_t at : {int64_t{0}, n / 2, n - 1}) {
      std::vector<float> x(static_cast<size_t>(n), -kInf);
      x[static_cast<size_t>(at)] = kNan;
      EXPECT_TRUE(std::isnan(log_sum_exp(x.data(), n))) << at << " of " << n;
      double total = 0;
      exponentials_row(x.data(), n, &total);
      EXPECT_TRUE(std::isnan(total)) << at << " of " << n;
    }
  }
}

// In vectors and in what is left over behind them, as base/dtype.h rounds.
TEST_P(CpuRows, RoundsEveryUpperHalfBelowAtAndAboveTheTie) {
  std::vector<float> x;
  for (uint32_t upper = 0; upper < 0x10000; ++upper) {
    for (const uint32_t lower : {0x0000u, 0x0001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      x.push_back(std::bit_cast<float>(upper << 16 | lower));
    }
  }
  for (const int64_t width : {int64_t{65536 * 6}, int64_t{3}}) {
    const int64_t rows = 65536 * 6 / width;
    std::vector<bfloat16> narrow(x.size());
    convert_rows({narrow.data(), width}, {x.data(), width}, rows, width);
    std::vector<float> wide(x.size());
    convert_rows({wide.data(), width}, {narrow.data(), width}, rows, width);
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_EQ(narrow[i].bits, bfloat16(x[i]).bits) << std::bit_cast<uint32_t>(x[i]);
      ASSERT_EQ(std::bit_cast<uint32_t>(wide[i]), uint32_t{narrow[i].bits} << 16);
    }
  }
}

}  // namespace
}  // namespace msltx::ops::cpu
