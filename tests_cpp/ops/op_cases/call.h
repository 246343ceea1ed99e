// Runs a problem on a backend, in memory that shows what should not happen: everything but the
// inputs' elements is filled with one NaN pattern before (outputs, gaps between strided rows, guard
// words around each field, scratch and what lies behind it) and what no output owns is checked to
// be unchanged after, inputs too.
#pragma once

#include <string>
#include <vector>

#include "msltx/base/executor.h"
#include "msltx/ops/backend.h"
#include "ops/op_cases/problem.h"

namespace msltx::ops::op_cases {

struct Way {
  bool serial = false;     // as a task on a serial stream, not on the parallel stream
  int64_t chunk_rows = 0;  // the rows cut into chunks, each one a task on a serial stream
  bool aliased = false;    // every output that may be its input's memory is
};

struct Outcome {
  std::vector<Values> outputs;  // by field; empty for inputs
  std::string damage;           // what was written where nothing may be; empty if nothing was
};

Outcome run(const Problem& problem, const Backend& backend, Executor& executor,
            const Way& way = {});

// Outputs of the reference, on one thread; throws Error where it did damage.
std::vector<Values> run_reference(const Problem& problem);

// The largest block that a repeated encode asks of operator new, in bytes.
int64_t largest_allocation(const Problem& problem, const Backend& backend, Executor& executor);

// Rows per chunk that must not change a bit: none where outputs do not go by rows (or partial sums
// of rows), or depend on how many rows there are.
std::vector<int64_t> chunk_rows_of(const Problem& problem);
bool can_alias(const Problem& problem);

}  // namespace msltx::ops::op_cases
