// TokenizerTrainer: from text to a tokenizer. Text is counted as it comes, in memory that grows
// with the number of distinct words only. Equal input gives an equal tokenizer at any number of
// threads.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "msltx/text/tokenizer.h"
#include "msltx/text/train_options.h"
#include "msltx/text/train_pipeline.h"
#include "msltx/text/word_counter.h"

namespace msltx::text {

class TokenizerTrainer {
 public:
  TokenizerTrainer(TrainOptions options, Executor& executor);  // throws what check() throws

  // Files are read line by line. Called once with all files where a sample is given in bytes.
  void add_files(std::span<const Path> files, const ProgressFn& progress = {});
  // Each text counts on its own. Throws ValueError where a sample is given in bytes.
  void add_texts(std::span<const std::string_view> texts);

  // The tokenizer; there is nothing left to train on afterwards. Throws ValueError when there was
  // no text.
  Tokenizer finish(const ProgressFn& progress = {});

 private:
  WordCounter& counter(double share);
  nlohmann::json record() const;
  PieceCounts pieces_of(const PieceCounts& words) const;

  TrainOptions options_;
  Executor& executor_;
  double share_ = 1;  // of the text that is trained on
  TrainPipeline pipeline_;
  std::unique_ptr<const PieceCutter> cutter_;
  std::optional<WordCounter> counter_;
};

}  // namespace msltx::text
