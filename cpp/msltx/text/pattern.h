// Pattern: what Split and Replace look for, a string or a regular expression, and the ways in which
// text is split at its matches.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "msltx/text/json_fields.h"
#include "msltx/text/regex.h"

namespace msltx::text {

class Pattern {
 public:
  // From the member "pattern" of a component: {"String": ...} or {"Regex": ...}.
  explicit Pattern(const Json& component);

  // Matches from left to right without overlap; appends.
  void find_all(std::string_view text, std::vector<TextSpan>& matches) const;
  bool is_regex() const { return regex_.has_value(); }
  const std::string& written() const { return text_; }

 private:
  std::string text_;
  std::optional<Regex> regex_;
};

enum class SplitBehavior : uint8_t {
  removed,
  isolated,
  merged_with_previous,
  merged_with_next,
  contiguous
};

SplitBehavior behavior_field(const Json& object, const char* key, SplitBehavior otherwise);

// The parts of a text of `size` bytes that is split at the matches; `invert` exchanges matches and
// what stands between. Parts may be empty.
std::vector<TextSpan> split_at(std::span<const TextSpan> matches, size_t size,
                               SplitBehavior behavior, bool invert);

}  // namespace msltx::text
