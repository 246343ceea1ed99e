// UTF-8: finding the first byte that breaks it, replacing what breaks it, reading and writing code
// points. Everything after the door works on text known to be valid.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "msltx/base/error.h"

namespace msltx {
class Executor;
}

namespace msltx::text {

// What a reader does with bytes that are not UTF-8.
enum class InvalidUtf8 : uint8_t {
  refuse,   // an error that names the file and the byte offset
  replace,  // each maximal broken part becomes U+FFFD (as Python's errors="replace")
  skip,     // the document that has them is left out; where lines are read, the line
  keep,     // they are handed on as they are: whoever asks for this looks for them
};

// What a reader has met.
struct InvalidCounts {
  int64_t replaced = 0;  // broken parts that became U+FFFD
  int64_t skipped = 0;   // documents, or lines, left out

  InvalidCounts& operator+=(const InvalidCounts& other) {
    replaced += other.replaced;
    skipped += other.skipped;
    return *this;
  }
};

// Throws ValueError for a name other than refuse, replace and skip.
InvalidUtf8 invalid_utf8_from_name(std::string_view name);
std::string_view name_of(InvalidUtf8 invalid);

inline constexpr size_t kValid = std::string_view::npos;

// The offset of the first byte that is not part of a well-formed sequence, or kValid. Surrogates,
// overlong forms and code points past U+10FFFF are not well-formed.
size_t find_invalid_utf8(std::string_view text);
// By all threads.
size_t find_invalid_utf8(std::string_view text, Executor& executor);

// What a caller knows of its text.
enum class Utf8 : uint8_t { unknown, valid };

// `text` with every maximal ill-formed part replaced by U+FFFD; `replaced` counts them.
std::string replace_invalid_utf8(std::string_view text, int64_t* replaced = nullptr);

// How many bytes at the end of `text` begin a sequence that more bytes could complete: 0 to 3.
size_t incomplete_utf8_tail(std::string_view text);

// "invalid UTF-8 at byte 12 (0xff)"
std::string describe_invalid_utf8(std::string_view text, size_t at, int64_t offset_of_text = 0);

// The code point at p, which moves past it. The text must be valid.
inline char32_t decode_utf8(const char*& p) {
  const auto b = [&](int i) { return static_cast<unsigned char>(p[i]); };
  const char32_t first = b(0);
  if (first < 0x80) {
    p += 1;
    return first;
  }
  if (first < 0xE0) {
    const char32_t c = (first & 0x1Fu) << 6 | (b(1) & 0x3Fu);
    p += 2;
    return c;
  }
  if (first < 0xF0) {
    const char32_t c = (first & 0x0Fu) << 12 | (b(1) & 0x3Fu) << 6 | (b(2) & 0x3Fu);
    p += 3;
    return c;
  }
  const char32_t c =
      (first & 0x07u) << 18 | (b(1) & 0x3Fu) << 12 | (b(2) & 0x3Fu) << 6 | (b(3) & 0x3Fu);
  p += 4;
  return c;
}

void append_utf8(std::string& out, char32_t c);

}  // namespace msltx::text
