// Split patterns: how text is cut into pre-tokens, the pieces a tokenizer model sees. Each pattern
// is written by hand as a struct with `next`; there is no regular-expression engine. A pattern
// never cuts inside a character, and each has `is_boundary`, so that long text can be cut for
// parallel work.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "msltx/text/unicode.h"
#include "msltx/text/utf8.h"

namespace msltx::text {

// Classes of ASCII characters by byte; other bytes begin a longer character.
struct AsciiClasses {
  static constexpr int8_t kNotAscii = -1;
  int8_t of[256] = {};
  constexpr AsciiClasses() {
    for (int c = 0; c < 256; ++c) {
      const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
      const bool space = c == ' ' || (c >= 9 && c <= 13);
      const bool number = c >= '0' && c <= '9';
      const CharClass kind = letter   ? CharClass::letter
                             : number ? CharClass::number
                             : space  ? CharClass::space
                                      : CharClass::other;
      of[c] = c < 128 ? static_cast<int8_t>(kind) : kNotAscii;
    }
  }
};
inline constexpr AsciiClasses kAsciiClasses;

// What the patterns share.
struct SplitTools {
  // The class of the character at p, which moves past it.
  static CharClass take(const char*& p) {
    const int8_t kind = kAsciiClasses.of[static_cast<unsigned char>(*p)];
    if (kind != AsciiClasses::kNotAscii) {
      ++p;
      return static_cast<CharClass>(kind);
    }
    return class_of(decode_utf8(p));
  }

  // The end of the run of characters of this class from q on.
  static const char* run(const char* q, const char* end, CharClass kind) {
    while (q < end) {
      const int8_t ascii = kAsciiClasses.of[static_cast<unsigned char>(*q)];
      if (ascii != AsciiClasses::kNotAscii) {
        if (ascii != static_cast<int8_t>(kind)) return q;
        ++q;
        continue;
      }
      const char* after = q;
      if (class_of(decode_utf8(after)) != kind) return q;
      q = after;
    }
    return q;
  }

  // True when a pre-token is sure to begin at `at`, begin < at, whatever stands around: a space
  // after something that is none. True of every pattern here.
  static bool is_boundary(const char* begin, const char* at) {
    if (*at != ' ') return false;
    const char* before = at - 1;
    while (before > begin && (static_cast<unsigned char>(*before) & 0xC0) == 0x80) --before;
    return take(before) != CharClass::space;
  }
};

// GPT-2's pattern:
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
struct Gpt2Split : SplitTools {
  // The end of the pre-token that begins at p < end. The text must be valid UTF-8.
  static const char* next(const char* p, const char* end) {
    const char* q = p;
    if (*p == '\'') {
      if (const int length = contraction(p, end)) return p + length;
    }
    CharClass kind = take(q);
    if (kind == CharClass::space) {
      if (*p != ' ' || q == end) return whitespace(p, q, end);
      const char* after = q;
      kind = take(after);
      if (kind == CharClass::space) return whitespace(p, q, end);
      q = after;
    }
    return run(q, end, kind);
  }

  // Bytes of a contraction at p, an apostrophe; 0: none.
  static int contraction(const char* p, const char* end) {
    if (end - p < 2) return 0;
    const char a = p[1];
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if (end - p < 3) return 0;
    const char b = p[2];
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return 3;
    return 0;
  }

 private:
  // White space from p on, q past its first character: all of it at the end of the text, else all
  // but the last character, which goes with (or stands before) what follows; one alone is a piece.
  static const char* whitespace(const char* p, const char* q, const char* end) {
    const char* last = p;
    while (q < end) {
      const char* after = q;
      if (take(after) != CharClass::space) return last == p ? q : last;
      last = q;
      q = after;
    }
    return end;
  }
};

// Before every space: no pattern of a tokenizer, but a cut that every one of them makes again or
// joins in the same way wherever the part stands.
struct SpaceSplit {
  static const char* next(const char* p, const char* end) {
    const void* space =
        end - p > 1 ? std::memchr(p + 1, ' ', static_cast<size_t>(end - p - 1)) : nullptr;
    return space ? static_cast<const char*>(space) : end;
  }
};

// fn(piece) for every pre-token of `text`, in order; together they are the text.
template <class Split, class Fn>
void for_each_piece(std::string_view text, Fn&& fn) {
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p < end) {
    const char* const q = Split::next(p, end);
    fn(std::string_view(p, static_cast<size_t>(q - p)));
    p = q;
  }
}

}  // namespace msltx::text
