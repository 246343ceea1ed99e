// What is asked of a backend's kernel on one problem. Both answer with a sentence on the first
// thing that is wrong, or with nothing.
#pragma once

#include <string>

#include "msltx/ops/backend.h"
#include "ops/op_cases/problem.h"

namespace msltx::ops::op_cases {

// Outputs within tolerance of the reference, nothing else touched.
std::string disagreement(const Problem& problem, const Backend& backend);

// The same bits on 1, 2, 3 and 8 threads, as a task on a serial stream, cut into chunks of rows,
// and in the memory of its input where it may be.
std::string difference_between_ways(const Problem& problem, const Backend& backend);

}  // namespace msltx::ops::op_cases
