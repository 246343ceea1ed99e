// Cleaning: what may be done to text before it becomes tokens. Off unless asked for; each step is
// an option, applied in the order of the fields and recorded where the cleaned text ends up.
#pragma once

#include <string>
#include <string_view>

namespace msltx::text {

struct Cleaning {
  // CRLF and CR become LF; every other run of white space (Unicode White_Space) becomes one space;
  // spaces at the beginning and the end of a line go. Empty lines stay.
  bool whitespace = false;
  // Every character's lowercase, without context (as the Hugging Face normalizer "Lowercase").
  bool lowercase = false;

  bool any() const { return whitespace || lowercase; }
  bool operator==(const Cleaning&) const = default;
};

// Valid UTF-8 in, valid UTF-8 out.
std::string clean(std::string_view text, const Cleaning& cleaning);

}  // namespace msltx::text
