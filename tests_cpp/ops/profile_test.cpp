#include "msltx/ops/profile.h"

#include <gtest/gtest.h>

#include <vector>

#include "msltx/ops/ops.h"

namespace msltx::ops {
namespace {

TEST(Profiler, AddsUpCallsOperationsAndBytesOfBothKindsOfStream) {
  Executor executor(2);
  Scratch scratch(2);
  Profiler profiler(2);
  Stream stream(backend("reference"), executor, scratch, &profiler);
  std::vector<float> x(8, 1), out(8), gamma(4, 1);
  const LayernormForward op{.out = Tensor::host(out.data(), DType::float32, {2, 4}),
                            .x = Tensor::host(x.data(), DType::float32, {2, 4}),
                            .gamma = Tensor::host(gamma.data(), DType::float32, {4})};
  layernorm_forward(stream, op);
  executor.parallel_for(3, [&](int64_t, int worker) {
    Stream serial = stream.serial(worker);
    std::vector<float> mine(8);
    LayernormForward own = op;
    own.out = Tensor::host(mine.data(), DType::float32, {2, 4});
    layernorm_forward(serial, own);
  });
  const auto rows = profiler.rows();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].op, "layernorm_forward");
  EXPECT_EQ(rows[0].calls, 4);
  EXPECT_EQ(rows[0].flops, 4 * 64.0);
  EXPECT_EQ(rows[0].bytes, 4 * (32 + 32 + 16.0));
  EXPECT_GT(rows[0].seconds, 0);
  profiler.reset();
  EXPECT_TRUE(profiler.rows().empty());
}

}  // namespace
}  // namespace msltx::ops
