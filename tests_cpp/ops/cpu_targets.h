// Runs the cpu backend's Highway kernels with each instruction set that was built and that this
// machine has, not the best one only.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "hwy/highway.h"

namespace msltx::ops {

class CpuTarget : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override {
    hwy::SetSupportedTargetsForTest(GetParam());
    hwy::GetChosenTarget().Update(GetParam());
  }
  void TearDown() override {
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
};

inline std::string cpu_target_name(const testing::TestParamInfo<int64_t>& info) {
  return hwy::TargetName(info.param);
}

inline auto cpu_targets() { return testing::ValuesIn(hwy::SupportedAndGeneratedTargets()); }

}  // namespace msltx::ops
