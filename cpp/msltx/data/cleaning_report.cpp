#include "msltx/data/cleaning_report.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "msltx/base/error.h"
#include "msltx/text/utf8.h"

namespace msltx::data {
namespace {

constexpr size_t kCodePoints = 0x110000;
constexpr size_t kTaskBytes = 1 << 17;
constexpr size_t kTasksPerWorker = 8;
constexpr size_t kExampleBefore = 24;  // bytes shown before the first difference, at most
constexpr size_t kExampleBytes = 80;

using Counts = std::vector<int64_t>;  // by code point

template <class Fn>
void for_each_character(std::string_view text, Fn fn) {
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p < end) fn(text::decode_utf8(p));
}

std::string_view take_line(std::string_view& text) {
  const size_t feed = text.find('\n');
  const std::string_view line = text.substr(0, feed);
  text.remove_prefix(feed == text.npos ? text.size() : feed + 1);
  return line;
}

// The stretch of `line` from a little before `at` on, cut between characters.
std::string stretch(std::string_view line, size_t at) {
  const auto boundary = [&](size_t place) {
    while (place > 0 && place < line.size() &&
           (static_cast<unsigned char>(line[place]) & 0xC0) == 0x80) {
      --place;
    }
    return std::min(place, line.size());
  };
  const size_t begin = boundary(at > kExampleBefore ? at - kExampleBefore : 0);
  const size_t end = boundary(begin + kExampleBytes);
  return std::string(line.substr(begin, end - begin));
}

// What one worker needs; the counts are kept over all its tasks.
struct Workspace {
  Counts counts = Counts(kCodePoints);
  Counts difference = Counts(kCodePoints);  // all zeros between uses
};

void compare(std::string_view before, std::string_view after, size_t most_examples,
             Workspace& workspace, StepReport& report) {
  if (before == after) return;
  ++report.documents;
  Counts& difference = workspace.difference;
  for_each_character(before, [&](char32_t c) { ++difference[c]; });
  for_each_character(after, [&](char32_t c) { --difference[c]; });
  const auto settle = [&](char32_t c) {
    (difference[c] > 0 ? report.removed : report.added) += std::abs(difference[c]);
    difference[c] = 0;
  };
  for_each_character(before, settle);
  for_each_character(after, settle);
  while (!before.empty() || !after.empty()) {
    const std::string_view a = take_line(before), b = take_line(after);
    if (a == b) continue;
    ++report.lines;
    if (report.examples.size() >= most_examples) continue;
    const auto at = static_cast<size_t>(
        std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
    report.examples.push_back({stretch(a, at), stretch(b, at)});
  }
}

}  // namespace

CleaningReport report_cleaning(DocumentSource& source, const text::Cleaning& cleaning,
                               int64_t most_bytes, size_t examples, Executor& executor,
                               const text::ProgressFn& progress) {
  const std::vector<text::CleaningStep> steps = text::steps_of(cleaning);
  CleaningReport whole;
  whole.counts.resize(kCodePoints);
  for (const text::CleaningStep& step : steps) whole.steps.push_back({.name = step.name});
  bool at_end = false;
  using Task = std::vector<std::string>;
  const auto read = [&](std::vector<Task>& tasks) {
    const size_t most = kTasksPerWorker * static_cast<size_t>(executor.threads());
    size_t bytes = kTaskBytes;
    for (Document document; !at_end && (tasks.size() < most || bytes < kTaskBytes);) {
      at_end = (most_bytes > 0 && whole.bytes >= most_bytes) || !source.next(document);
      if (at_end) break;
      if (bytes >= kTaskBytes) {
        tasks.emplace_back();
        bytes = 0;
      }
      bytes += document.text.size();
      whole.bytes += static_cast<int64_t>(document.text.size());
      ++whole.documents;
      tasks.back().push_back(std::move(document.text));
    }
  };
  executor.run([&] {
    std::vector<Workspace> workspaces(static_cast<size_t>(executor.threads()));
    std::vector<Task> current, ahead;
    read(ahead);
    while (!ahead.empty()) {
      std::swap(current, ahead);
      ahead.clear();
      std::vector<std::vector<StepReport>> found(current.size(), whole.steps);
      for (auto& reports : found) {
        for (StepReport& report : reports) report = {.name = report.name};
      }
      executor.parallel_for(
          static_cast<int64_t>(current.size()) + 1, [&](int64_t task, int worker) {
            executor.check_cancelled();
            if (task == 0) return read(ahead);
            const auto k = static_cast<size_t>(task) - 1;
            Workspace& workspace = workspaces[static_cast<size_t>(worker)];
            for (std::string& text : current[k]) {
              for_each_character(text, [&](char32_t c) { ++workspace.counts[c]; });
              for (size_t s = 0; s < steps.size(); ++s) {
                std::string after = text::clean(text, steps[s].alone);
                compare(text, after, examples, workspace, found[k][s]);
                text.swap(after);
              }
            }
          });
      for (const auto& reports : found) {
        for (size_t s = 0; s < steps.size(); ++s) {
          StepReport& to = whole.steps[s];
          to.documents += reports[s].documents;
          to.lines += reports[s].lines;
          to.removed += reports[s].removed;
          to.added += reports[s].added;
          for (const StepReport::Example& example : reports[s].examples) {
            if (to.examples.size() < examples) to.examples.push_back(example);
          }
        }
      }
      if (progress) progress({"inspect", source.bytes_read(), source.bytes_total()});
    }
    for (const Workspace& workspace : workspaces) {
      for (size_t c = 0; c < kCodePoints; ++c) whole.counts[c] += workspace.counts[c];
    }
  });
  for (const int64_t count : whole.counts) whole.characters += count;
  return whole;
}

}  // namespace msltx::data
