// What the Hugging Face library takes characters for: its components look at them through Unicode
// tables of several ages. The tables are in hf_unicode_table.cpp, which
// script/generate_hf_unicode.py writes. Character classes of split patterns are in unicode.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace msltx::text::hf {

// In the order of the flags in script/generate_hf_unicode.py.
enum class HfClass : uint16_t {
  control = 1,       // removed by BertNormalizer's clean_text
  combining = 2,     // removed by StripAccents
  nonspacing = 4,    // removed by BertNormalizer's strip_accents
  punctuation = 8,   // of Punctuation and BertPreTokenizer
  numeric = 16,      // of Digits
  word = 32,         // \w of Whitespace and of added tokens that are single words
  regex_word = 64,   // \w of Split and Replace
  normalizes = 128,  // known to the normalization forms
  joins = 256,       // continues the grapheme cluster before it
};

// What [[:alpha:]], [[:lower:]] and [[:upper:]] of Split take a character for whose general
// category does not say it.
enum class LetterKind : uint8_t { by_category, alphabetic, lowercase, uppercase };

struct LowercasePair {
  char32_t upper, lower;
};

extern const uint32_t kClassRuns[];  // first << 11 | flags, where other flags begin
extern const int kClassRunCount;
extern const uint32_t kScriptRuns[];  // first << 8 | number, where another script begins
extern const int kScriptRunCount;
extern const uint32_t kLetterRuns[];  // first << 2 | LetterKind, where another kind begins
extern const int kLetterRunCount;
extern const LowercasePair kNewerLowercase[];  // of letters newer than Unicode 16.0
extern const int kNewerLowercaseCount;

bool is(char32_t c, HfClass which);
// L* and Nl are alphabetic, Ll lowercase and Lu uppercase, besides those with a LetterKind; cased
// characters are alphabetic too.
bool is_alphabetic(char32_t c);
bool is_lowercase(char32_t c);
bool is_uppercase(char32_t c);
// A number per script as UnicodeScripts takes it; 0 goes with any.
int script_of(char32_t c);
// One character, except for U+0130.
void append_lowercase(char32_t c, std::vector<char32_t>& out);
// Of valid UTF-8.
void append_lowercase(std::string_view text, std::string& out);

}  // namespace msltx::text::hf
