#include "ops/op_cases/checks.h"

#include <map>

#include "msltx/base/error.h"
#include "ops/op_cases/call.h"
#include "ops/op_cases/expectation.h"

namespace msltx::ops::op_cases {
namespace {

Executor& executor(int threads) {
  static std::map<int, Executor> all;
  return all.try_emplace(threads, threads).first->second;
}

// The first element of which the bits differ.
std::string different_bits(const OpInfo& info, const Outcome& a, const Outcome& b) {
  for (size_t i = 0; i < info.fields.size(); ++i) {
    const Values &x = a.outputs[i], &y = b.outputs[i];
    for (int64_t k = 0; k < x.count(); ++k) {
      if (std::bit_cast<uint32_t>(x.i(k)) == std::bit_cast<uint32_t>(y.i(k))) continue;
      return concat(info.fields[i].name, " element ", k, " of ", x.count(), " has other bits, ",
                    x.f(k), " and ", y.f(k));
    }
  }
  return {};
}

}  // namespace

std::string disagreement(const Problem& problem, const Backend& backend) {
  const Outcome result = run(problem, backend, executor(2));
  if (!result.damage.empty()) return result.damage;
  const auto expected = expectations_of(problem);
  for (size_t i = 0; i < expected.size(); ++i) {
    const FieldInfo& field = problem.info->fields[i];
    if (!field.is_output() || !problem.has(field.name)) continue;
    const std::string wrong = compare(problem, field, expected[i], result.outputs[i]);
    if (!wrong.empty()) return wrong;
  }
  return {};
}

std::string difference_between_ways(const Problem& problem, const Backend& backend) {
  const Outcome first = run(problem, backend, executor(1));
  if (!first.damage.empty()) return first.damage;
  std::string wrong;
  const auto same = [&](int threads, const Way& way, const std::string& what) {
    if (!wrong.empty()) return;
    const Outcome other = run(problem, backend, executor(threads), way);
    wrong = other.damage.empty() ? different_bits(*problem.info, first, other) : other.damage;
    if (!wrong.empty()) wrong = concat(what, ": ", wrong);
  };
  for (int threads : {2, 3, 8}) same(threads, {}, concat(threads, " threads"));
  same(2, {.serial = true}, "a serial stream");
  for (int64_t rows : chunk_rows_of(problem)) {
    same(2, {.chunk_rows = rows}, concat("chunks of ", rows, " rows"));
  }
  if (can_alias(problem)) same(2, {.aliased = true}, "in the memory of its input");
  return wrong;
}

}  // namespace msltx::ops::op_cases
