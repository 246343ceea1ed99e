// A case of an op with values for its inputs: random ones from Philox, and where a number has a
// meaning (a token, a length, what a forward left behind) ones that keep it.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>
#include <vector>

#include "msltx/ops/axes.h"
#include "ops/op_cases/cases.h"

namespace msltx::ops::op_cases {

// A field's elements in the order of its axes, without gaps: the bits of floats or int32s.
struct Values {
  std::vector<int64_t> shape;
  std::vector<uint32_t> words;

  int64_t count() const { return static_cast<int64_t>(words.size()); }
  int64_t row_length() const { return shape.empty() ? 1 : shape.back(); }
  float f(int64_t i) const { return std::bit_cast<float>(words[static_cast<size_t>(i)]); }
  int32_t i(int64_t i) const { return std::bit_cast<int32_t>(words[static_cast<size_t>(i)]); }
  void set(int64_t i, float value) {
    words[static_cast<size_t>(i)] = std::bit_cast<uint32_t>(value);
  }
  void set(int64_t i, int32_t value) {
    words[static_cast<size_t>(i)] = std::bit_cast<uint32_t>(value);
  }
};

struct Problem {
  const OpInfo* info;
  Case c;
  std::vector<Values>
      fields;  // in the order of info->fields; inputs, or what an update starts from

  Problem(const OpInfo& op, const Case& which);  // with random inputs

  int64_t size(std::string_view letter) const { return c.size(letter); }
  bool has(std::string_view field) const { return !c.omits(field); }
  double attribute(std::string_view name) const;  // of the case, or the default
  DType type(const FieldInfo& field) const { return type_of(*info, c, field); }
  Problem in_float32() const;  // the same values
  size_t index(std::string_view field) const;
  const Values& operator[](std::string_view field) const { return fields[index(field)]; }
  Values& operator[](std::string_view field) { return fields[index(field)]; }
};

// True where the field has a value before the op runs.
bool is_given(const Problem& problem, const FieldInfo& field);

}  // namespace msltx::ops::op_cases
