// The table of op cases: which sizes, attributes, absent optional fields, layouts and special
// inputs every op is run with. What a case means for memory is in call.h, for values in problem.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "msltx/ops/op.h"

namespace msltx::ops::op_cases {

using Sizes = std::vector<std::pair<std::string_view, int64_t>>;  // axis letter, size
using Attributes = std::vector<std::pair<std::string_view, double>>;

struct Case {
  Sizes sizes;
  Attributes attributes;               // the rest keep their defaults
  std::vector<std::string_view> omit;  // optional fields that are absent
  std::string_view inputs;             // special values, see problem.cpp; "" for ordinary ones
  bool strided = false;                // activations as views with gaps between their rows
  bool bfloat16 = false;               // the compute type
  unsigned wide = 0;                   // with it, the i-th wide field is float32 where bit i is set

  int64_t size(std::string_view letter) const;  // -1 where the op has no such axis
  int64_t largest_size() const;
  bool omits(std::string_view field) const;
  std::string describe() const;  // "N=513 C=13 accumulate=1 without beta, strided"
};

// Throws ValueError for an op that the table does not know.
std::vector<Case> cases_of(const OpInfo& info);
// The same in bfloat16, the types of wide fields changing from case to case; none for an op whose
// fields have one type each.
std::vector<Case> bfloat16_cases_of(const OpInfo& info);

// The type of a field in a case.
DType type_of(const OpInfo& info, const Case& c, const FieldInfo& field);

}  // namespace msltx::ops::op_cases
