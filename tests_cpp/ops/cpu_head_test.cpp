// linear_cross_entropy of the cpu backend: against the reference, with the same bits at any number
// of threads.
#include <gtest/gtest.h>

#include <vector>

#include "msltx/ops/ops.h"
#include "ops/matrix.h"

namespace msltx::ops {
namespace {

struct Shape {
  int64_t N, C, V;
};

// The last two take several panels of columns, the last several blocks of rows.
const Shape kShapes[] = {{1, 1, 1},       {3, 7, 65},     {70, 33, 130},
                         {257, 20, 1030}, {40, 70, 2050}, {250, 3, 70001}};

std::vector<int32_t> random_targets(const Shape& shape, int32_t ignored) {
  std::mt19937 bits(7);
  std::vector<int32_t> targets(static_cast<size_t>(shape.N));
  for (size_t i = 0; i < targets.size(); ++i) {
    const bool counted = i % 5 != 3 && !(i >= 64 && i < 128);  // a whole tile without one, too
    targets[i] = counted ? static_cast<int32_t>(bits() % static_cast<uint32_t>(shape.V)) : ignored;
  }
  return targets;
}

struct Head {
  Matrix hidden, weight, bias, d_hidden, d_weight, d_bias, loss{1, 1};
  std::vector<int32_t> targets;

  explicit Head(const Shape& s, int64_t gap = 0)
      : hidden(Matrix::random(s.N, s.C, 1, gap)),
        weight(Matrix::random(s.V, s.C, 2, gap)),
        bias(Matrix::random(1, s.V, 3)),
        d_hidden(s.N, s.C, gap),
        d_weight(Matrix::random(s.V, s.C, 4, gap)),
        d_bias(Matrix::random(1, s.V, 5)),
        targets(random_targets(s, -7)) {}

  Tensor target_tensor() {
    return Tensor::host(targets.data(), DType::int32, {static_cast<int64_t>(targets.size())});
  }
  LinearCrossEntropyForwardBackward op(bool with_bias, bool accumulate) {
    return {.loss = loss.vector(),
            .d_hidden = d_hidden.tensor(),
            .d_weight = d_weight.tensor(),
            .d_bias = with_bias ? d_bias.vector() : Tensor{},
            .hidden = hidden.tensor(),
            .weight = weight.tensor(),
            .targets = target_tensor(),
            .bias = with_bias ? bias.vector() : Tensor{},
            .ignore_index = -7,
            .scale = 0.25f,
            .accumulate = accumulate};
  }
  LinearCrossEntropyForward forward_op(bool with_bias) {
    return {.loss = loss.vector(),
            .hidden = hidden.tensor(),
            .weight = weight.tensor(),
            .targets = target_tensor(),
            .bias = with_bias ? bias.vector() : Tensor{},
            .ignore_index = -7,
            .scale = 0.25f};
  }
};

TEST(CpuHead, IsTheReference) {
  Runner cpu, reference("reference");
  for (const Shape& shape : kShapes) {
    for (const bool full : {false, true}) {
      Head a(shape, full ? 3 : 0), b = a;
      cpu.run(a.op(full, full));
      reference.run(b.op(full, full));
      EXPECT_NEAR(a.loss.at(0, 0), b.loss.at(0, 0), 2e-6 * std::abs(b.loss.at(0, 0)));
      expect_near(a.d_hidden, b.d_hidden, 2, "d_hidden");
      expect_near(a.d_weight, b.d_weight, 4, "d_weight");
      if (full) expect_near(a.d_bias, b.d_bias, 4, "d_bias");
      for (int64_t n = 3; n < shape.N; n += 5) ASSERT_EQ(a.d_hidden.at(n, 0), 0);

      Head c(shape, full ? 3 : 0);
      cpu.run(c.forward_op(full));
      EXPECT_NEAR(c.loss.at(0, 0), b.loss.at(0, 0), 2e-6 * std::abs(b.loss.at(0, 0)));
    }
  }
}

TEST(CpuHead, NoCountedRowGivesNoLossAndNoGradient) {
  Head head({200, 16, 100});
  head.targets.assign(200, -7);
  Runner runner;
  runner.run(head.op(true, false));
  EXPECT_EQ(head.loss.at(0, 0), 0);
  for (const Matrix* m : {&head.d_hidden, &head.d_weight, &head.d_bias}) {
    for (const float v : m->data) ASSERT_EQ(v, 0);
  }
  runner.run(head.forward_op(true));
  EXPECT_EQ(head.loss.at(0, 0), 0);
}

TEST(CpuHead, SameBitsAtAnyThreadCountAndOnBothStreams) {
  const Shape shape{450, 24, 40000};
  Head first(shape);
  Runner("cpu", 1).run(first.op(true, false));
  Head loss_alone = first;
  Runner("cpu", 1).run(loss_alone.forward_op(true));
  for (const int threads : {2, 3, 8}) {
    for (const bool serial : {false, true}) {
      if (serial && threads > 2) continue;
      Head head(shape);
      Runner runner("cpu", threads);
      runner.run(head.op(true, false), serial);
      EXPECT_TRUE(head.loss.same_bits(first.loss, 1)) << threads;
      EXPECT_TRUE(head.d_hidden.same_bits(first.d_hidden, shape.N)) << threads;
      EXPECT_TRUE(head.d_weight.same_bits(first.d_weight, shape.V)) << threads;
      EXPECT_TRUE(head.d_bias.same_bits(first.d_bias, 1)) << threads;
      runner.run(head.forward_op(true), serial);
      EXPECT_TRUE(head.loss.same_bits(loss_alone.loss, 1)) << threads;
    }
  }
}

}  // namespace
}  // namespace msltx::ops
