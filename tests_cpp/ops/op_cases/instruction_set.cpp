// MSLTX_TEST_INSTRUCTION_SET=AVX2 (or another of Highway's names) runs the vector kernels as on a
// machine that has nothing better.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string_view>

#include "hwy/highway.h"
#include "msltx/base/error.h"

namespace msltx::ops::op_cases {
namespace {

class InstructionSet : public testing::Environment {
 public:
  void SetUp() override {
    const char* wanted = std::getenv("MSLTX_TEST_INSTRUCTION_SET");
    if (!wanted) return;
    for (int64_t target : hwy::SupportedAndGeneratedTargets()) {
      if (std::string_view(hwy::TargetName(target)) != wanted) continue;
      hwy::SetSupportedTargetsForTest(target);
      hwy::GetChosenTarget().Update(target);
      return;
    }
    GTEST_SKIP() << "this machine or build has no " << wanted;
  }
};

const auto* const kInstructionSet = testing::AddGlobalTestEnvironment(new InstructionSet);

}  // namespace
}  // namespace msltx::ops::op_cases
