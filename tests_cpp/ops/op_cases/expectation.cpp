#include "ops/op_cases/expectation.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "msltx/base/error.h"
#include "ops/op_cases/call.h"
#include "ops/op_cases/rules.h"

namespace msltx::ops::op_cases {
namespace {

constexpr double kTolerance = 1e-6, kLongSumTolerance = 1e-5, kBfloat16Tolerance = 1e-2;
constexpr int64_t kLongSum = 4096;

Rule rule_of(std::string_view op) {
  for (const auto* rules : {&layer_rules(), &attention_rules(), &output_rules(), &family_rules()}) {
    const auto found = rules->find(op);
    if (found != rules->end()) return found->second;
  }
  throw ValueError(concat("no rule says how exact ", op, " must be"));
}

}  // namespace

Expectations expectations_of(const Problem& given) {
  const Problem problem = given.in_float32();
  std::vector<Values> values = run_reference(problem);
  Expectations all(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    all[i].magnitude.assign(values[i].words.size(), 0);
    all[i].value = std::move(values[i]);
  }
  rule_of(problem.info->name)(problem, {problem, all});
  return all;
}

std::string compare(const Problem& problem, const FieldInfo& field, const Expectation& expected,
                    const Values& got) {
  using Kind = Expectation::Kind;
  if (expected.kind == Kind::anything) return {};
  const Values& want = expected.value;
  const bool integers = field.element == Element::int32;
  // What is exact is so up to the rounding of its type.
  const bool rounds = problem.type(field) == DType::bfloat16;
  const int64_t length =
      integers || !expected.undecided.empty()
          ? want.count() / std::max<int64_t>(1, static_cast<int64_t>(
                                                    std::max<size_t>(1, expected.undecided.size())))
          : want.row_length();
  const double tolerance = problem.c.bfloat16                    ? kBfloat16Tolerance
                           : problem.c.largest_size() > kLongSum ? kLongSumTolerance
                                                                 : kTolerance;
  const auto report = [&](int64_t i, std::string_view how) {
    const auto show = [&](const Values& v) { return integers ? concat(v.i(i)) : concat(v.f(i)); };
    return concat(field.name, " element ", i, " (row length ", length, "): got ", show(got),
                  ", expected ", show(want), how);
  };
  for (int64_t first = 0; first < want.count(); first += length) {
    const auto row = static_cast<size_t>(first / length);
    if (!expected.undecided.empty() && expected.undecided[row]) continue;
    double error = 0, size = 0, magnitude = 0, worst = 0;
    int64_t worst_at = first;
    for (int64_t i = first; i < first + length; ++i) {
      if (expected.kind == Kind::equal) {
        if (got.words[static_cast<size_t>(i)] != want.words[static_cast<size_t>(i)] &&
            (integers ||
             got.f(i) != (rounds ? static_cast<float>(bfloat16(want.f(i))) : want.f(i)))) {
          return report(i, "");
        }
        continue;
      }
      const double a = got.f(i), b = want.f(i), m = expected.magnitude[static_cast<size_t>(i)];
      if (!std::isfinite(a) || !std::isfinite(b)) {
        if (a == b || (std::isnan(a) && std::isnan(b))) continue;
        return report(i, "");
      }
      error += (a - b) * (a - b);
      size += b * b;
      magnitude += m * m;
      if (std::abs(a - b) > worst) worst = std::abs(a - b), worst_at = i;
    }
    // Below the smallest normal float32 there are no digits to compare.
    const double limit = tolerance * (std::sqrt(size) + std::sqrt(magnitude)) +
                         double{std::numeric_limits<float>::min()};
    if (std::sqrt(error) > limit) {
      return report(worst_at,
                    concat(", magnitude ", expected.magnitude[static_cast<size_t>(worst_at)],
                           "; the row's error is ", std::sqrt(error) / limit, " times its limit"));
    }
  }
  return {};
}

}  // namespace msltx::ops::op_cases
