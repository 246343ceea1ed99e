// WordCounter: the distinct pre-tokens of a corpus and how often each occurs, counted in parallel
// from a stream. Its memory grows with the number of distinct pre-tokens, not with the corpus.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "msltx/base/executor.h"
#include "msltx/base/file.h"
#include "msltx/text/cleaning.h"
#include "msltx/text/piece_table.h"
#include "msltx/text/progress.h"
#include "msltx/text/split_pattern.h"
#include "msltx/text/utf8.h"

namespace msltx::text {

// A part of a corpus, drawn line by line (of texts: text by text), so that it comes from
// everywhere.
struct TextSample {
  double share = 1.0;  // of the lines, about; 1: all
  uint64_t seed = 0;   // the same lines for the same seed
};

class WordCounter {
 public:
  // Adds the pre-tokens of a line; called by several threads at once.
  using Cut = std::function<void(std::string_view line, PieceCounts& counts)>;
  // What is counted: the pre-tokens of a pattern, a cheaper cut that others refine (before every
  // space), or what a function finds.
  using Split = std::variant<SplitPattern, SpaceSplit, Cut>;

  explicit WordCounter(const Cleaning& cleaning, Executor& executor,
                       Split split = SplitPattern::gpt2, TextSample sample = {});

  // Counts the pre-tokens of each text on its own. Throws ValueError for a text that is not UTF-8.
  void add_texts(std::span<const std::string_view> texts);

  // Counts the pre-tokens of each line with its line feed on its own, as the Hugging Face library
  // does. Throws FileError (see TextBlocks). `progress` hears of the bytes read from this file.
  void add_file(const Path& path, InvalidUtf8 invalid, const ProgressFn& progress = {});

  // One table of all; the counter is empty afterwards.
  PieceCounts take();

 private:
  void count_file(const Path& path, InvalidUtf8 invalid, const ProgressFn& progress);
  // A text, or the part of a file that begins at `number` (a block's).
  void count(std::string_view text, bool by_line, uint32_t number, PieceCounts& counts) const;
  bool is_drawn(uint32_t number, uint32_t line) const;
  void make_tables();
  PieceCounts& table_of(int worker);

  Cleaning cleaning_;
  Executor& executor_;
  Split split_;
  TextSample sample_;
  uint32_t sources_ = 0;             // files and calls of add_texts so far
  std::vector<PieceCounts> tables_;  // one per worker
};

}  // namespace msltx::text
