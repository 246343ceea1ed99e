#include "ops/op_cases/rules.h"

#include <cmath>

#include "ops/op_cases/call.h"

namespace msltx::ops::op_cases {

double& grow(Expectation& e, int64_t i) { return e.magnitude[static_cast<size_t>(i)]; }

Problem absolute(const Problem& problem, const std::set<std::string_view>& negative) {
  Problem result = problem;
  for (size_t i = 0; i < result.fields.size(); ++i) {
    const FieldInfo& field = problem.info->fields[i];
    if (field.element == Element::int32) continue;
    Values& values = result.fields[i];
    const float sign = negative.contains(field.name) ? -1.0f : 1.0f;
    for (int64_t k = 0; k < values.count(); ++k) values.set(k, sign * std::abs(values.f(k)));
  }
  return result;
}

void add_outputs(const Problem& problem, const Outputs& out) {
  const std::vector<Values> values = run_reference(problem);
  for (size_t i = 0; i < values.size(); ++i) {
    for (int64_t k = 0; k < values[i].count(); ++k) {
      if (std::isfinite(values[i].f(k))) grow(out.all[i], k) += std::abs(double{values[i].f(k)});
    }
  }
}

void expect_equal(const Problem&, const Outputs& out) {
  for (Expectation& e : out.all) e.kind = Expectation::Kind::equal;
}

void polynomial(const Problem& problem, const Outputs& out) { add_outputs(absolute(problem), out); }

}  // namespace msltx::ops::op_cases
