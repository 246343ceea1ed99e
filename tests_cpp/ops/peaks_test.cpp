// Peaks: that they are measured, and in the right unit; how high they are is the machine's matter.
#include <gtest/gtest.h>

#include "msltx/ops/backend.h"
#include "msltx/ops/bandwidth.h"

namespace msltx::ops {
namespace {

TEST(SlowPeaks, MatrixPeakIsThatOfAComputer) {
  Executor executor(2);
  EXPECT_EQ(backend("reference").matrix_peak(executor, DType::float32), 0);
  for (const Backend* backend : backends()) {
    if (backend->name() != "cpu") continue;
    const double peak = backend->matrix_peak(executor, DType::float32);
    EXPECT_GT(peak, 1e9);
    EXPECT_LT(peak, 1e14);
  }
}

TEST(SlowPeaks, ReadBandwidthIsThatOfAMemory) {
  Executor executor(2);
  const double bandwidth = read_bandwidth(executor);
  EXPECT_GT(bandwidth, 5e8);
  EXPECT_LT(bandwidth, 5e12);
}

}  // namespace
}  // namespace msltx::ops
