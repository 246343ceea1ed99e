// WordCounter: the distinct pre-tokens of a corpus and how often each occurs, counted in parallel
// from a stream. Its memory grows with the number of distinct pre-tokens, not with the corpus.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "msltx/base/executor.h"
#include "msltx/base/file.h"
#include "msltx/text/cleaning.h"
#include "msltx/text/piece_table.h"
#include "msltx/text/progress.h"
#include "msltx/text/utf8.h"

namespace msltx::text {

class WordCounter {
 public:
  WordCounter(const Cleaning& cleaning, Executor& executor);

  // Counts the pre-tokens of each text on its own. Throws ValueError for a text that is not UTF-8.
  void add_texts(std::span<const std::string_view> texts);

  // Counts the pre-tokens of each line with its line feed on its own, as the Hugging Face library
  // does. Throws FileError (see TextBlocks). `progress` hears of the bytes read from this file.
  void add_file(const Path& path, InvalidUtf8 invalid, const ProgressFn& progress = {});

  // One table of all; the counter is empty afterwards.
  PieceCounts take();

 private:
  void count_file(const Path& path, InvalidUtf8 invalid, const ProgressFn& progress);
  static void count_lines(std::string_view block, PieceCounts& counts);
  static void count_whole(std::string_view text, PieceCounts& counts);
  void make_tables();
  PieceCounts& table_of(int worker);

  Cleaning cleaning_;
  Executor& executor_;
  std::vector<PieceCounts> tables_;  // one per worker
};

}  // namespace msltx::text
