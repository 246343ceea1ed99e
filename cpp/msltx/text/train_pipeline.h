// What stands around the model of a tokenizer that is trained: normalizer, pre-tokenizer and
// decoder as a tokenizer.json has them, and how text is cut into the pieces that are counted.
//
// Splits by name: gpt2, cl100k, o200k, llama3, qwen2 (the patterns of those tokenizers), bert
// (white space, which goes, punctuation), whitespace (runs of word characters and of others; white
// space goes), metaspace (before every space, which becomes U+2581), digits (every digit on its
// own, else gpt2 over bytes and whitespace over characters). What has any character but letters,
// digits and underscores is a regular expression whose matches, and what is between them, are the
// pieces.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "msltx/text/normalizer.h"
#include "msltx/text/piece_table.h"
#include "msltx/text/pre_tokenizer.h"
#include "msltx/text/split_pattern.h"
#include "msltx/text/train_options.h"

namespace msltx::text {

// bpe and bytes are over bytes, the others over characters.
enum class TrainedModel : uint8_t { bpe, bytes, char_bpe, wordpiece, unigram, word_level, chars };

struct TrainPipeline {
  TrainedModel model = TrainedModel::bpe;
  // The split is this pattern, which has a splitter of its own.
  std::optional<SplitPattern> pattern;
  // A line cut before every space has the same pieces as the line, so that each such part is cut
  // once, however often it occurs.
  bool by_word = false;
  bool over_bytes = true;
  std::string continuing_prefix, word_suffix;
  // null: none. Over bytes `cut` is the pre-tokenizer before the step from bytes to their letters.
  nlohmann::ordered_json normalizer, cut, decoder;

  nlohmann::ordered_json pre_tokenizer() const;
};

// Throws ValueError for a model or a split that is not known, and for options of other models.
TrainPipeline make_train_pipeline(const TrainOptions& options);

// Cuts text into the pieces that a model sees in training.
class PieceCutter {
 public:
  explicit PieceCutter(const TrainPipeline& pipeline);
  // Adds `count` to each piece of valid UTF-8 `text`.
  void count(std::string_view text, int64_t count, PieceCounts& pieces) const;

 private:
  std::unique_ptr<const Normalizer> normalizer_;
  std::unique_ptr<const PreTokenizer> pre_tokenizer_;
};

}  // namespace msltx::text
