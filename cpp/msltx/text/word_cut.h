// WordCut: cuts text before words that may be tokenized each on its own (word_rules.h): before a
// space that stands alone between two plain characters.
#pragma once

#include "msltx/text/utf8.h"

namespace msltx::text {

struct WordCut {
  // Where the word ends that begins at p < end. The text must be valid UTF-8.
  static const char* next(const char* p, const char* end) {
    const char* before = p;
    decode_utf8(p);
    while (p < end) {
      if (*p == ' ' && p + 1 < end && is_plain(before) && is_plain(p + 1)) return p;
      before = p;
      decode_utf8(p);
    }
    return end;
  }

  // Whether a word begins at `at`, begin < at < end.
  static bool may_cut(const char* begin, const char* at, const char* end) {
    if (*at != ' ' || at + 1 == end) return false;
    const char* before = at - 1;
    while (before > begin && (static_cast<unsigned char>(*before) & 0xC0) == 0x80) --before;
    return is_plain(before) && is_plain(at + 1);
  }

  // ASCII but white space and control characters, and plain letters.
  static bool is_plain(const char* p) {
    const auto byte = static_cast<unsigned char>(*p);
    return byte < 0x80 ? byte > 0x20 && byte < 0x7F : is_plain_letter(decode_utf8(p));
  }
  // Letters of Latin, Greek and Cyrillic that stay letters in every normalization form.
  static bool is_plain_letter(char32_t c);
};

}  // namespace msltx::text
