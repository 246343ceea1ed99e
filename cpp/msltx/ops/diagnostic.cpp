#include "msltx/ops/diagnostic.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "msltx/base/error.h"
#include "msltx/ops/runs.h"

namespace msltx::ops {
namespace {

constexpr int64_t kGuardBytes = 64;  // on each side of a run of elements: a vector's width

bool is_float(const Tensor& t) { return t.dtype == DType::float32 || t.dtype == DType::bfloat16; }

float value_at(const Tensor& t, int64_t offset) {
  return t.dtype == DType::bfloat16 ? static_cast<float>(t.data<bfloat16>()[offset])
                                    : t.data()[offset];
}

// "[2, 0, 7]", of the element at an offset.
std::string index_text(const Tensor& t, int64_t wanted) {
  std::string text = "[";
  int64_t at = 0;  // the run's first element, counted without gaps
  for_each_run(t, [&](int64_t offset, int64_t count) {
    if (wanted < offset || wanted >= offset + count || text.size() > 1) {
      at += count;
      return;
    }
    int64_t rest = at + wanted - offset;
    std::string indices;
    for (int axis = t.rank - 1; axis >= 0; --axis) {
      indices = concat(rest % t.dim(axis), indices.empty() ? "" : ", ", indices);
      rest /= t.dim(axis);
    }
    text += indices;
  });
  return text + "]";
}

// An output whose elements the op sets without reading them first.
bool is_overwritten(const OpInfo& info, const void* op, const FieldInfo& field) {
  if (field.role != Role::writes && field.role != Role::accumulates) return false;
  if (field.role == Role::accumulates) {
    const AttributeInfo* accumulate = info.find_attribute("accumulate");
    if (accumulate && OpInfo::value<bool>(op, *accumulate)) return false;
  }
  if (field.may_alias.empty()) return true;
  const Tensor& input = OpInfo::tensor(op, *info.find_field(field.may_alias));
  return !input.defined() || input.data<char>() != OpInfo::tensor(op, field).data<char>();
}

void fill_with_nan(const Tensor& t) {
  for_each_run(t, [&](int64_t offset, int64_t count) {
    if (t.dtype == DType::bfloat16) {
      const bfloat16 nan(std::numeric_limits<float>::quiet_NaN());
      std::fill_n(t.data<bfloat16>() + offset, count, nan);
    } else {
      std::fill_n(t.data() + offset, count, std::numeric_limits<float>::quiet_NaN());
    }
  });
}

// Memory that belongs to an output, within the allocation it lies in.
struct Run {
  std::byte *begin, *end, *first, *last;  // elements; bounds of the allocation
  std::string_view field;
};

std::vector<Run> output_runs(const OpInfo& info, const void* op) {
  std::vector<Run> runs;
  for (const FieldInfo& field : info.fields) {
    const Tensor& t = OpInfo::tensor(op, field);
    if (!field.is_output() || !t.defined()) continue;
    auto* memory = static_cast<std::byte*>(t.buffer.handle);
    auto* elements = t.data<std::byte>();
    for_each_run(t, [&](int64_t offset, int64_t count) {
      std::byte* begin = elements + offset * size_of(t.dtype);
      runs.push_back({begin, begin + count * size_of(t.dtype), memory, memory + t.buffer.byte_size,
                      field.name});
    });
  }
  std::sort(runs.begin(), runs.end(), [](const Run& a, const Run& b) { return a.begin < b.begin; });
  return runs;
}

}  // namespace

bool diagnostic_by_environment() {
  const char* value = std::getenv("MSLTX_DIAGNOSTIC");
  const std::string_view text = value ? value : "";
  if (text.empty() || text == "0") return false;
  if (text == "1") return true;
  throw ValueError(concat("MSLTX_DIAGNOSTIC is ", text, "; it takes 1 or 0"));
}

std::string Diagnostic::place(const Encoding& encoding) const {
  return concat("step ", step_, ", ", encoding.scope.empty() ? "outside of layers" : encoding.scope,
                ": ");
}

void Diagnostic::check_finite(const Encoding& encoding, const FieldInfo& field,
                              const char* when) const {
  const Tensor& t = OpInfo::tensor(encoding.op, field);
  if (!t.defined() || !is_float(t) || field.is_partly_written) return;
  int64_t bad = -1;
  for_each_run(t, [&](int64_t offset, int64_t count) {
    for (int64_t i = offset; i < offset + count && bad < 0; ++i) {
      const float value = value_at(t, i);
      const bool is_hidden = field.is_masked && std::isinf(value) && value < 0;
      if (!std::isfinite(value) && !is_hidden) bad = i;
    }
  });
  if (bad < 0) return;
  const std::string name = name_of_ ? name_of_(t.data<std::byte>() + bad * size_of(t.dtype)) : "";
  throw Error(concat(place(encoding), encoding.info.name, " ", when, " ", value_at(t, bad), " in ",
                     field.name, name.empty() ? "" : concat(" (", name, ")"), " at ",
                     index_text(t, bad), " of ", to_string(t)));
}

// The bytes next to each run, as far as they belong to no other output and to the allocation.
void Diagnostic::set_guards(const Encoding& encoding) {
  guards_.clear();
  const std::vector<Run> runs = output_runs(encoding.info, encoding.op);
  const auto guard = [&](std::byte* begin, std::byte* end, std::string_view field) {
    if (begin < end) guards_.push_back({begin, {begin, end}, field});
  };
  for (size_t i = 0; i < runs.size(); ++i) {
    const Run& run = runs[i];
    const std::byte* previous = i > 0 ? runs[i - 1].end : nullptr;
    auto* lowest = std::max(run.first, const_cast<std::byte*>(previous), std::less<>());
    auto* highest =
        i + 1 < runs.size() ? std::min(run.last, runs[i + 1].begin, std::less<>()) : run.last;
    guard(run.begin - std::min<ptrdiff_t>(kGuardBytes, run.begin - lowest), run.begin, run.field);
    guard(run.end, run.end + std::min<ptrdiff_t>(kGuardBytes, highest - run.end), run.field);
  }
}

void Diagnostic::before(const Encoding& encoding) {
  const auto& [info, op, scope, worker, backend] = encoding;
  try {
    check(info, op);
    check_indices(info, op);
  } catch (const ValueError& error) {
    throw ValueError(concat(place(encoding), error.what()));
  }
  for (const FieldInfo& field : info.fields) {
    const bool is_read = field.role == Role::reads || field.role == Role::updates ||
                         (field.role == Role::accumulates && !is_overwritten(info, op, field));
    if (is_read) check_finite(encoding, field, "is given");
  }
  set_guards(encoding);
  for (const FieldInfo& field : info.fields) {
    const Tensor& t = OpInfo::tensor(op, field);
    if (t.defined() && is_float(t) && is_overwritten(info, op, field)) fill_with_nan(t);
  }
}

void Diagnostic::after(const Encoding& encoding) {
  for (const Guard& guard : guards_) {
    const auto size = guard.before.size();
    if (std::memcmp(guard.begin, guard.before.data(), size) == 0) continue;
    throw Error(concat(place(encoding), encoding.info.name, " wrote outside of ", guard.field,
                       ", within ", kGuardBytes, " bytes of its elements"));
  }
  for (const FieldInfo& field : encoding.info.fields) {
    if (field.is_output()) check_finite(encoding, field, "computes, or leaves unwritten,");
  }
}

}  // namespace msltx::ops
