// How the rules say what rounding may do: an output's magnitude, added up element by element.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string_view>
#include <vector>

#include "ops/op_cases/expectation.h"

namespace msltx::ops::op_cases {

using Expectations = std::vector<Expectation>;

// The outputs of a problem by name; what is added to an absent one is lost.
struct Outputs {
  const Problem& p;
  Expectations& all;
  Expectation& operator[](std::string_view field) const { return all[p.index(field)]; }
  void add(std::string_view field, int64_t i, double amount) const {
    if (p.has(field)) (*this)[field].magnitude[static_cast<size_t>(i)] += amount;
  }
};

double& grow(Expectation& e, int64_t i);  // the magnitude of an element

// The reference on absolute values; `negative` fields get their sign turned, so that what is
// subtracted adds up.
Problem absolute(const Problem& problem, const std::set<std::string_view>& negative = {});
// What the reference gives for a problem, as magnitudes.
void add_outputs(const Problem& problem, const Outputs& out);

using Rule = void (*)(const Problem&, const Outputs&);

void expect_equal(const Problem& problem, const Outputs& out);
// For an op that is a polynomial of its inputs: the reference on their absolute values.
void polynomial(const Problem& problem, const Outputs& out);

// Of the ops of layer_specs() and of those beside it in spec.h.
const std::map<std::string_view, Rule>& layer_rules();
const std::map<std::string_view, Rule>& attention_rules();
const std::map<std::string_view, Rule>& output_rules();
const std::map<std::string_view, Rule>& family_rules();

}  // namespace msltx::ops::op_cases
