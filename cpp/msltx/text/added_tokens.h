// Added tokens: strings that are recognized in text as wholes, before it is split, such as [EOS].
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "msltx/text/byte_trie.h"

namespace msltx::text {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = true;       // decode can leave it out
  bool normalized = false;   // looked for in the normalized text rather than in the text as it came
  bool single_word = false;  // not found inside a word
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // and after it
};

// Finds any of a set of strings: the leftmost, of those at one place the longest.
class TokenMatcher {
 public:
  struct Match {
    size_t begin = std::string_view::npos;  // npos: there is none
    size_t end = std::string_view::npos;
    int32_t id = -1;
    size_t next = 0;  // where to look for the one after it
  };

  TokenMatcher() = default;
  // Each by its `content`, which may be the normalized one.
  explicit TokenMatcher(std::vector<AddedToken> tokens);

  bool empty() const { return tokens_.empty(); }
  // True when a match may contain a space.
  bool spans_spaces() const { return spans_spaces_; }
  // The first one from `from` on; what it strips does not go back beyond `taken`.
  Match find(std::string_view text, size_t from, size_t taken) const;

 private:
  size_t next_candidate(std::string_view text, size_t from) const;

  std::vector<AddedToken> tokens_;             // by first byte, then longest first
  std::array<uint32_t, 257> first_of_byte_{};  // in tokens_, by first byte
  int only_first_byte_ = -1;                   // when all tokens share it
  bool spans_spaces_ = false;
  ByteTrie trie_;  // of contents, to places in tokens_
};

}  // namespace msltx::text
