// Charsmap: SentencePiece's precompiled table of replacements, a double array of prefixes followed
// by the texts that replace them. Read with every place checked.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "msltx/base/error.h"

namespace msltx::text {

class Charsmap {
 public:
  Charsmap() = default;
  // Throws ValueError for bytes that are no such table.
  explicit Charsmap(std::string bytes);

  // The bytes of a table that replaces each first text, which has no zero byte, by the second.
  static std::string build(std::vector<std::pair<std::string, std::string>> entries);

  bool empty() const { return units_.empty(); }
  const std::string& bytes() const { return bytes_; }

  struct Match {
    size_t length;  // bytes of the prefix
    std::string_view replacement;
  };
  // What replaces the shortest, or the longest, prefix of `text` that is in the table.
  std::optional<Match> shortest(std::string_view text) const { return find(text, false); }
  std::optional<Match> longest(std::string_view text) const { return find(text, true); }

 private:
  std::optional<Match> find(std::string_view text, bool longest) const;

  std::string bytes_;
  std::vector<uint32_t> units_;
  std::string_view texts_;  // in bytes_; each ends with a zero byte
};

}  // namespace msltx::text
