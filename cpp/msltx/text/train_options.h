// What TokenizerTrainer is asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "msltx/text/cleaning.h"
#include "msltx/text/utf8.h"

namespace msltx::text {

inline const std::vector<std::string>& default_special_tokens() {
  static const std::vector<std::string> names{"[PAD]", "[UNK]", "[BOS]", "[EOS]"};
  return names;
}

struct TrainOptions {
  std::string model = "bpe";  // see TrainedModel
  int64_t vocab_size = 8192;  // special tokens and the alphabet included; bytes takes no more
  int64_t min_frequency = 2;  // of a pair, piece or word, to become a token; 0 counts as 1
  std::vector<std::string> special_tokens = default_special_tokens();
  std::string split;             // see train_pipeline.h; empty: what is usual for the model
  int64_t max_token_length = 0;  // see the trainers; 0: no limit, of unigram 16 characters
  // Of models over characters: which of them a vocabulary begins with, see limit_alphabet().
  int64_t alphabet_limit = 0;
  std::optional<double> character_coverage;  // not given: 0.9995 of unigram, else 1
  bool byte_fallback = false;                // other characters as their bytes
  // Of wordpiece and char_bpe; not given: "##" and, where words are cut off from their spaces,
  // "</w>".
  std::optional<std::string> continuing_prefix, word_suffix;
  bool lowercase = false;  // a part of the tokenizer
  Cleaning cleaning;       // of what is trained on; the tokenizer itself does not clean
  InvalidUtf8 invalid_utf8 = InvalidUtf8::refuse;
  // Train on a part of the text, drawn by line: a share of it, or about this many bytes where that
  // is not 0 (files only).
  double sample_share = 1.0;
  int64_t sample_bytes = 0;
  uint64_t sample_seed = 0;
};

// What is done to text before its pre-tokens are counted.
Cleaning training_cleaning(const TrainOptions& options);

// Throws ValueError for what training refuses whatever the text, before it is read.
void check(const TrainOptions& options);

}  // namespace msltx::text
