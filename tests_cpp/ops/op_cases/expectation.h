// What an op's outputs must be: the reference's, within a tolerance of a magnitude. The magnitude
// is what the definition gives with its sums taken over absolute values, so that a kernel may add
// up in any order but may not lose digits that the sum has. Where an op is a polynomial of its
// inputs that is the reference itself on their absolute values; the others are written out here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/op_cases/problem.h"

namespace msltx::ops::op_cases {

struct Expectation {
  enum class Kind { equal, close, anything } kind = Kind::close;
  Values value;
  std::vector<double> magnitude;  // of each element, where close
  std::vector<bool> undecided;    // rows that rounding may turn either way; empty for none
};

// By field; unused for inputs and absent fields.
std::vector<Expectation> expectations_of(const Problem& problem);

// 1e-6 of value and magnitude, row by row in the Euclidean norm; 1e-5 where sums may be longer than
// 4,096, 1e-2 in bfloat16. Empty where `got` is right, else a sentence with the worst element.
std::string compare(const Problem& problem, const FieldInfo& field, const Expectation& expected,
                    const Values& got);

}  // namespace msltx::ops::op_cases
