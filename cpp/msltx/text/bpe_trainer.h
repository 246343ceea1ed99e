// The trainer of byte-level BPE: from counted pre-tokens to a vocabulary and its merges. Tokens,
// ids and merges equal those of the Hugging Face trainer, whatever the number of threads.
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
  int64_t vocab_size = 8192;                // special tokens and the 256 bytes included
  int64_t min_frequency = 2;                // of a pair, to be merged; 0 counts as 1
  std::vector<std::string> special_tokens;  // take the first ids, in this order
};

struct BpeVocabulary {
  std::vector<std::string>
      tokens;  // by id; special tokens as they are, the others in byte_alphabet
  std::vector<std::pair<int32_t, int32_t>> merges;  // by rank
};

// Throws ValueError when vocab_size has no room for the special tokens and the 256 bytes.
void check(const BpeTrainerOptions& options);

// Throws what check() throws. Stops early when no pair is left that occurs min_frequency times.
// `stop` is called now and then; it may throw.
BpeVocabulary train_bpe(const PieceCounts& words, const BpeTrainerOptions& options,
                        const ProgressFn& progress = {}, const std::function<void()>& stop = {});

}  // namespace msltx::text
