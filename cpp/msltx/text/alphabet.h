// The alphabet of a corpus: its characters by how often they occur, and which of them a vocabulary
// begins with.
#pragma once

#include <cstdint>
#include <vector>

#include "msltx/text/piece_table.h"

namespace msltx::text {

struct CharacterCount {
  char32_t code;
  int64_t count;
};

// The characters of counted pre-tokens (valid UTF-8), the most frequent first; of equally frequent
// ones the lower code point first.
std::vector<CharacterCount> count_characters(const PieceCounts& words);

// What a limit leaves of it: the first `limit` characters (0: all), and no more than it takes to
// cover this share of the text (1: all). In the same order.
std::vector<CharacterCount> limit_alphabet(std::vector<CharacterCount> characters, int64_t limit,
                                           double coverage);

}  // namespace msltx::text
