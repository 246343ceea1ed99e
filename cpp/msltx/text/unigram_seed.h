// The corpus of the Unigram trainer as numbers, and the pieces that training begins with: the
// substrings that repeat, found by sorting the suffixes of all words.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "msltx/base/executor.h"
#include "msltx/text/alphabet.h"
#include "msltx/text/piece_table.h"

namespace msltx::text {

// The words, in one array of letters: places in the alphabet, counted from 1.
struct LetterCorpus {
  struct Word {
    uint32_t begin, length;  // letters; never 0
    int64_t count;
  };
  std::vector<CharacterCount> alphabet;
  std::vector<uint32_t> letters;
  std::vector<Word> words;  // in the order of their bytes

  // A longer stretch is cut: within it, sums over all ways to write it stay in a double's range.
  static constexpr size_t kLongestWord = 64;

  // A word is cut at a character that is not in the alphabet, too, since no piece spans it.
  LetterCorpus(const PieceCounts& counts, std::vector<CharacterCount> characters);

  std::string text(size_t begin, size_t length) const;
  std::vector<uint32_t> word_of_letters() const;  // the word in which each letter stands
};

// Pieces of two letters or more, and where they stand.
struct UnigramSeeds {
  struct Piece {
    uint32_t place, length;  // its first place in the list of places, its letters
    uint32_t places;         // how many
    int64_t count;           // how often it occurs
  };
  std::vector<Piece> pieces;     // the one that covers the most letters first
  std::vector<uint32_t> places;  // where suffixes begin, in LetterCorpus::letters
};

// The `most` pieces that cover the most letters, of those that occur `min_count` times, have up to
// `max_length` letters and would be cut nowhere: see
// piece_kind.h. Of those that
// always occur in one longer piece with the same beginning, the longest stands for all. Throws
// ValueError for more than 2^32 - 2 letters.
UnigramSeeds find_seeds(const LetterCorpus& corpus, size_t most, uint32_t max_length,
                        int64_t min_count, Executor& executor);

}  // namespace msltx::text
