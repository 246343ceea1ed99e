// What a cleaning would change in text, without changing it: characters by kind, and for each step
// how much of the text it touches, with examples.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "msltx/base/executor.h"
#include "msltx/data/document_source.h"
#include "msltx/text/cleaning.h"
#include "msltx/text/progress.h"

namespace msltx::data {

struct StepReport {
  struct Example {
    std::string before, after;  // a line, or the stretch of it around the first difference
  };
  std::string name;
  int64_t documents = 0;  // changed
  int64_t lines = 0;      // changed; of the text as the steps before have left it
  int64_t removed = 0;    // characters that are gone or have become others
  int64_t added = 0;      // characters that have come in their place
  std::vector<Example> examples;
};

struct CleaningReport {
  int64_t documents = 0;  // parts of long ones counted each
  int64_t characters = 0;
  int64_t bytes = 0;
  std::vector<int64_t> counts;    // of each code point, before cleaning
  std::vector<StepReport> steps;  // in the order in which they are applied
};

// Reads the source to its end, or until `most_bytes` of text (0: no limit), in constant memory. The
// report does not depend on the number of threads.
CleaningReport report_cleaning(DocumentSource& source, const text::Cleaning& cleaning,
                               int64_t most_bytes, size_t examples, Executor& executor,
                               const text::ProgressFn& progress = {});

}  // namespace msltx::data
