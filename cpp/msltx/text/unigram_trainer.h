// The trainer of Unigram (Kudo 2018): many pieces to begin with, expectation and maximization over
// all ways to write the words, and the pieces that matter least left out, again and again. Gives
// equal vocabularies at any number of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "msltx/base/executor.h"
#include "msltx/text/piece_table.h"
#include "msltx/text/progress.h"

namespace msltx::text {

struct UnigramTrainerOptions {
  int64_t vocab_size = 8192;                // special tokens and the alphabet included
  int64_t min_frequency = 2;                // of a piece, to be considered
  std::vector<std::string> special_tokens;  // take the first ids, with score 0
  int64_t max_token_length = 16;            // characters of a piece; 0 counts as 16
  int64_t alphabet_limit = 0;               // see limit_alphabet()
  double character_coverage = 0.9995;       // SentencePiece's default
};

struct UnigramVocabulary {
  std::vector<std::string> tokens;  // by id; after the special ones by score, then by their bytes
  std::vector<double> scores;
};

// Throws ValueError for a number out of range.
void check(const UnigramTrainerOptions& options);

// Throws what check() throws, and ValueError when vocab_size has no room for the alphabet. There
// are fewer tokens where the text has no more pieces. `progress` hears of the rounds.
UnigramVocabulary train_unigram(const PieceCounts& words, const UnigramTrainerOptions& options,
                                Executor& executor, const ProgressFn& progress = {});

}  // namespace msltx::text
