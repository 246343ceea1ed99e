// The trainer of BPE: from counted pre-tokens to a vocabulary and its merges. Over bytes, tokens,
// ids and merges equal those of the Hugging Face trainer; over characters, and so for WordPiece,
// they do but for characters with an affix, which that trainer numbers differently in every run.
// The result never depends on the number of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "msltx/text/piece_table.h"
#include "msltx/text/progress.h"

namespace msltx::text {

struct BpeTrainerOptions {
  int64_t vocab_size = 8192;                // special tokens and the alphabet included
  int64_t min_frequency = 2;                // of a pair, to be merged; 0 counts as 1
  std::vector<std::string> special_tokens;  // take the first ids, in this order
  // No token of this many bytes or characters is made of others, unless of two single ones; 0 is no
  // limit. (One less than it sounds, as in the Hugging Face trainer.)
  int64_t max_token_length = 0;

  bool characters = false;  // the alphabet is the text's characters instead of the 256 bytes
  // Of characters only, see limit_alphabet(). What is left out is left out of words, too.
  int64_t alphabet_limit = 0;
  double character_coverage = 1.0;
  std::string continuing_prefix;  // written before what does not begin a word ("##")
  std::string word_suffix;        // written after what ends a word ("</w>")
  bool split_kinds = false;       // keep kinds of characters apart as SentencePiece does
};

struct BpeVocabulary {
  std::vector<std::string>
      tokens;  // by id; over bytes, those that are not special are in byte_alphabet
  std::vector<std::pair<int32_t, int32_t>> merges;  // by rank
};

// Throws ValueError when vocab_size has no room for the special tokens and the 256 bytes, or
// another number is out of range.
void check(const BpeTrainerOptions& options);

// Throws what check() throws, and ValueError when vocab_size has no room for the characters found
// (with their affixes). Stops early when no pair is left that occurs min_frequency times.
// `stop` is called now and then; it may throw.
BpeVocabulary train_bpe(const PieceCounts& words, const BpeTrainerOptions& options,
                        const ProgressFn& progress = {}, const std::function<void()>& stop = {});

}  // namespace msltx::text
