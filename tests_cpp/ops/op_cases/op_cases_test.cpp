// Every op of every backend, case by case: within tolerance of the reference, without damage to its
// surroundings, and with the same bits at any thread count, in a serial task, cut into chunks of
// rows and in the memory of its input.
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <tuple>

#include "msltx/base/error.h"
#include "msltx/ops/backend.h"
#include "msltx/ops/op_list.h"
#include "ops/op_cases/call.h"
#include "ops/op_cases/checks.h"
#include "ops/op_cases/expectation.h"

namespace msltx::ops::op_cases {
namespace {

constexpr int kMaxFailures = 5;                // shown of one op
constexpr int64_t kLargestForReference = 600;  // it is slow, and its sizes are all alike
constexpr int64_t kAnySize = std::numeric_limits<int64_t>::max();
constexpr int64_t kBookkeeping = 4096;  // bytes that an encode may ask for at once

using Param = std::tuple<const Backend*, const OpInfo*, DType>;

// A kernel that is given widened copies has been tested at all sizes in float32.
bool is_slow(const Param& param) {
  const auto& [backend, info, compute] = param;
  const Kernel& kernel = backend->kernel(static_cast<size_t>(info->index));
  return backend->name() == "reference" || (compute == DType::bfloat16 && !kernel.runs_bfloat16);
}

class OpCases : public testing::TestWithParam<Param> {
 protected:
  const Backend& backend_ = *std::get<0>(GetParam());
  const OpInfo& info_ = *std::get<1>(GetParam());
  const DType compute_ = std::get<2>(GetParam());
  std::vector<Case> cases() const {
    return compute_ == DType::bfloat16 ? bfloat16_cases_of(info_) : cases_of(info_);
  }

  // The cases of some largest size until too many failed; fn returns what is wrong, or "".
  template <class Fn>
  void for_each_case(Fn&& fn, int64_t smallest, int64_t largest) {
    int failures = 0;
    for (const Case& c : cases()) {
      if (c.largest_size() < smallest || c.largest_size() > largest) continue;
      const std::string wrong = fn(Problem(info_, c));
      if (wrong.empty()) continue;
      ADD_FAILURE() << info_.name << " on " << backend_.name() << ", " << c.describe() << ": "
                    << wrong;
      if (++failures == kMaxFailures) return;
    }
  }
};

class OpCasesBesides : public OpCases {};       // the reference
class LargeOpCasesBesides : public OpCases {};  // and all else that is slow

TEST_P(OpCasesBesides, AgreeWithTheReference) {
  for_each_case([&](const Problem& problem) { return disagreement(problem, backend_); }, 0,
                kLargestForReference);
}

TEST_P(LargeOpCasesBesides, SlowlyAgreeWithTheReference) {
  for_each_case([&](const Problem& problem) { return disagreement(problem, backend_); },
                kLargestForReference + 1, kAnySize);
}

TEST_P(OpCases, SlowButGiveTheSameBitsInEveryWay) {
  for_each_case([&](const Problem& problem) { return difference_between_ways(problem, backend_); },
                0, is_slow(GetParam()) ? kLargestForReference : kAnySize);
}

TEST_P(OpCases, SlowSizesAllocateNoTensors) {
  Executor executor(2);
  for (const Case& c : cases()) {
    if (c.largest_size() > kLargestForReference || c.largest_size() < 512) continue;
    const int64_t bytes = largest_allocation(Problem(info_, c), backend_, executor);
    EXPECT_LT(bytes, kBookkeeping)
        << info_.name << " on " << backend_.name() << ", " << c.describe();
  }
}

class OpToleranceSlow : public testing::TestWithParam<const OpInfo*> {};

// A magnitude that is too large would let everything through.
TEST_P(OpToleranceSlow, AnErrorOfOneInAThousandIsSeen) {
  const OpInfo& info = *GetParam();
  for (const Case& c : cases_of(info)) {
    if (c.largest_size() > kLargestForReference || c.largest_size() < 13) continue;
    if (c.inputs == "large scores") continue;  // one probability is 1: gradients cancel to nothing
    const Problem problem(info, c);
    const auto expected = expectations_of(problem);
    for (size_t i = 0; i < expected.size(); ++i) {
      if (expected[i].kind != Expectation::Kind::close) continue;
      Values wrong = expected[i].value;
      bool differs = false;
      for (int64_t k = 0; k < wrong.count(); ++k) {
        wrong.set(k, wrong.f(k) * 1.001f);
        differs = differs || wrong.f(k) != expected[i].value.f(k);
      }
      EXPECT_TRUE(!differs || !compare(problem, info.fields[i], expected[i], wrong).empty())
          << info.name << ", " << c.describe() << ": " << info.fields[i].name;
    }
  }
}

std::vector<const OpInfo*> ops() {
  std::vector<const OpInfo*> list;
  for (const OpInfo& info : all_ops()) list.push_back(&info);
  return list;
}

INSTANTIATE_TEST_SUITE_P(Ops, OpToleranceSlow, testing::ValuesIn(ops()),
                         [](const auto& param) { return std::string(param.param->name); });

std::vector<Param> params(bool with_reference) {
  std::vector<Param> list;
  for (const Backend* backend : backends()) {
    for (const DType compute : {DType::float32, DType::bfloat16}) {
      // In bfloat16 the reference converts, so that it has an oracle too: itself in float32.
      const bool is_oracle = backend->name() == "reference" && compute == DType::float32;
      if (!with_reference && is_oracle) continue;
      for (const OpInfo& info : all_ops()) {
        if (backend->supports(info, compute)) list.push_back({backend, &info, compute});
      }
    }
  }
  return list;
}

std::vector<Param> fast_params() {
  std::vector<Param> list = params(false);
  std::erase_if(list, is_slow);
  return list;
}

std::vector<Param> params_in(DType compute) {
  std::vector<Param> list = params(false);
  std::erase_if(list, [&](const Param& param) { return std::get<2>(param) != compute; });
  return list;
}

std::string name_of(const testing::TestParamInfo<Param>& info) {
  const bool half = std::get<2>(info.param) == DType::bfloat16;
  return concat(std::get<0>(info.param)->name(), "_", std::get<1>(info.param)->name,
                half ? "_bfloat16" : "");
}

INSTANTIATE_TEST_SUITE_P(Ops, OpCases, testing::ValuesIn(params(true)), name_of);
INSTANTIATE_TEST_SUITE_P(Ops, OpCasesBesides, testing::ValuesIn(params_in(DType::float32)),
                         name_of);
INSTANTIATE_TEST_SUITE_P(SlowOps, OpCasesBesides, testing::ValuesIn(params_in(DType::bfloat16)),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Ops, LargeOpCasesBesides, testing::ValuesIn(fast_params()), name_of);
// A build with the reference alone has nothing to hold against it.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(OpCasesBesides);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(LargeOpCasesBesides);

}  // namespace
}  // namespace msltx::ops::op_cases
