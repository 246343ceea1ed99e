// Character classes, general categories and lowercase of Unicode 16.0. The tables are in
// unicode_table.cpp, which script/generate_unicode.py writes. No normalization forms here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace msltx::text {

// What split patterns ask of a character: \p{L}, \p{N}, \s, or none of them.
enum class CharClass : uint8_t { other = 0, letter = 1, number = 2, space = 3 };

// In the order of CATEGORIES in script/generate_unicode.py.
enum class GeneralCategory : uint8_t {
  Cn,
  Cc,
  Cf,
  Co,
  Cs,
  Ll,
  Lm,
  Lo,
  Lt,
  Lu,
  Mc,
  Me,
  Mn,
  Nd,
  Nl,
  No,
  Pc,
  Pd,
  Pe,
  Pf,
  Pi,
  Po,
  Ps,
  Sc,
  Sk,
  Sm,
  So,
  Zl,
  Zp,
  Zs
};

namespace unicode {

struct LowercaseRange {
  char32_t first, last;  // every `step`-th code point of [first, last] ...
  int32_t step, delta;   // ... becomes itself + delta
};

// Two levels: a code point's block of 256, then 2 bits per code point.
extern const uint8_t kBlockOf[4352];
extern const uint8_t kClasses[][64];
extern const LowercaseRange kLowercase[];
extern const int kLowercaseCount;
// By code point: where another category begins, first << 5 | category.
extern const uint32_t kCategoryRuns[];
extern const int kCategoryRunCount;

}  // namespace unicode

inline CharClass class_of(char32_t c) {
  if (c >= 0x110000) return CharClass::other;
  const uint8_t packed = unicode::kClasses[unicode::kBlockOf[c >> 8]][(c & 255) >> 2];
  return static_cast<CharClass>((packed >> ((c & 3) * 2)) & 3);
}

inline bool is_space(char32_t c) { return class_of(c) == CharClass::space; }

GeneralCategory category_of(char32_t c);

// The lowercase of one character where that is one character: itself, except U+0130.
char32_t simple_lowercase(char32_t c);

// Appends valid UTF-8 `text` in lowercase, character by character (no context such as the final
// sigma), as the Hugging Face normalizer "Lowercase" does.
void append_lowercase(std::string_view text, std::string& out);

}  // namespace msltx::text
