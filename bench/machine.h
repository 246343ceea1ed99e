// What the machine can do at best: a benchmark shows its figures beside this.
#pragma once

#include <cstdio>
#include <string>

#include "msltx/base/executor.h"
#include "msltx/ops/backend.h"
#include "msltx/ops/bandwidth.h"

namespace msltx::bench {

struct Machine {
  double matrix_peak = 0;    // FLOP/s
  double bandwidth = 0;      // bytes/s
  double bfloat16_peak = 0;  // FLOP/s; 0 where the machine has no such products

  double peak(DType dtype) const {
    return dtype == DType::bfloat16 && bfloat16_peak > 0 ? bfloat16_peak : matrix_peak;
  }

  static Machine measured() {
    Executor& executor = Executor::global();
    return {ops::default_backend().matrix_peak(executor, DType::float32),
            ops::read_bandwidth(executor),
            ops::default_backend().matrix_peak(executor, DType::bfloat16)};
  }
  void print(const char* when) const {
    std::printf(
        "%s: matrix peak %.1f GFLOP/s, in bfloat16 %.1f, read bandwidth %.1f GB/s, %d threads, "
        "backend %s\n",
        when, matrix_peak * 1e-9, bfloat16_peak * 1e-9, bandwidth * 1e-9,
        Executor::global().threads(), std::string(ops::default_backend().name()).c_str());
  }
};

}  // namespace msltx::bench
