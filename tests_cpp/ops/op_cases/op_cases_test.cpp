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

using Param = std::tuple<const Backend*, const OpInfo*>;

class OpCases : public testing::TestWithParam<Param> {
 protected:
  const Backend& backend_ = *std::get<0>(GetParam());
  const OpInfo& info_ = *std::get<1>(GetParam());
  bool is_reference() const { return backend_.name() == "reference"; }

  void SetUp() override {
    if (!backend_.supports(info_, DType::float32)) {
      GTEST_SKIP() << backend_.name() << " has no " << info_.name << " of its own";
    }
  }

  // The cases of some largest size until too many failed; fn returns what is wrong, or "".
  template <class Fn>
  void for_each_case(Fn&& fn, int64_t smallest, int64_t largest) {
    int failures = 0;
    for (const Case& c : cases_of(info_)) {
      if (c.largest_size() < smallest || c.largest_size() > largest) continue;
      const std::string wrong = fn(Problem(info_, c));
      if (wrong.empty()) continue;
      ADD_FAILURE() << info_.name << " on " << backend_.name() << ", " << c.describe() << ": "
                    << wrong;
      if (++failures == kMaxFailures) return;
    }
  }
};

class OpCasesBesides : public OpCases {};  // the reference

TEST_P(OpCasesBesides, AgreeWithTheReference) {
  for_each_case([&](const Problem& problem) { return disagreement(problem, backend_); }, 0,
                kLargestForReference);
}

TEST_P(OpCasesBesides, SlowLargeSizesAgreeWithTheReference) {
  for_each_case([&](const Problem& problem) { return disagreement(problem, backend_); },
                kLargestForReference + 1, kAnySize);
}

TEST_P(OpCases, SlowButGiveTheSameBitsInEveryWay) {
  for_each_case([&](const Problem& problem) { return difference_between_ways(problem, backend_); },
                0, is_reference() ? kLargestForReference : kAnySize);
}

TEST_P(OpCases, SlowSizesAllocateNoTensors) {
  Executor executor(2);
  for (const Case& c : cases_of(info_)) {
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
    if (!with_reference && backend->name() == "reference") continue;
    for (const OpInfo& info : all_ops()) list.push_back({backend, &info});
  }
  return list;
}

std::string name_of(const testing::TestParamInfo<Param>& info) {
  return concat(std::get<0>(info.param)->name(), "_", std::get<1>(info.param)->name);
}

INSTANTIATE_TEST_SUITE_P(Ops, OpCases, testing::ValuesIn(params(true)), name_of);
INSTANTIATE_TEST_SUITE_P(Ops, OpCasesBesides, testing::ValuesIn(params(false)), name_of);
// A build with the reference alone has nothing to hold against it.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(OpCasesBesides);

}  // namespace
}  // namespace msltx::ops::op_cases
