#include "msltx/text/hf_unicode.h"

#include <algorithm>

#include "msltx/text/unicode.h"
#include "msltx/text/utf8.h"

namespace msltx::text::hf {
namespace {

uint32_t value_at(const uint32_t* runs, int count, int bits, char32_t c) {
  const uint32_t* run = std::upper_bound(
      runs, runs + count, c, [&](char32_t code, uint32_t packed) { return code < packed >> bits; });
  return run == runs ? 0 : run[-1] & ((1u << bits) - 1);
}

LetterKind letter_kind(char32_t c) {
  return static_cast<LetterKind>(value_at(kLetterRuns, kLetterRunCount, 2, c));
}

struct AsciiFlags {
  uint16_t of[128];
  AsciiFlags() {
    for (char32_t c = 0; c < 128; ++c) {
      of[c] = static_cast<uint16_t>(value_at(kClassRuns, kClassRunCount, 11, c));
    }
  }
};

}  // namespace

bool is(char32_t c, HfClass which) {
  static const AsciiFlags ascii;
  const uint32_t flags = c < 128 ? ascii.of[c] : value_at(kClassRuns, kClassRunCount, 11, c);
  return flags & static_cast<uint32_t>(which);
}

bool is_alphabetic(char32_t c) {
  const GeneralCategory category = category_of(c);
  return (category >= GeneralCategory::Ll && category <= GeneralCategory::Lu) ||
         category == GeneralCategory::Nl || letter_kind(c) != LetterKind::by_category;
}
bool is_lowercase(char32_t c) {
  return category_of(c) == GeneralCategory::Ll || letter_kind(c) == LetterKind::lowercase;
}
bool is_uppercase(char32_t c) {
  return category_of(c) == GeneralCategory::Lu || letter_kind(c) == LetterKind::uppercase;
}

int script_of(char32_t c) { return static_cast<int>(value_at(kScriptRuns, kScriptRunCount, 8, c)); }

void append_lowercase(char32_t c, std::vector<char32_t>& out) {
  if (c == 0x130) {  // LATIN CAPITAL LETTER I WITH DOT ABOVE
    out.insert(out.end(), {U'i', 0x307});
    return;
  }
  const LowercasePair* const end = kNewerLowercase + kNewerLowercaseCount;
  const LowercasePair* const pair =
      c < kNewerLowercase[0].upper
          ? end
          : std::find_if(kNewerLowercase, end,
                         [&](const LowercasePair& p) { return p.upper == c; });
  out.push_back(pair == end ? simple_lowercase(c) : pair->lower);
}

void append_lowercase(std::string_view text, std::string& out) {
  out.reserve(out.size() + text.size());
  std::vector<char32_t> lower;
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p < end) {
    const auto byte = static_cast<unsigned char>(*p);
    if (byte < 0x80) {
      out.push_back(static_cast<char>(byte >= 'A' && byte <= 'Z' ? byte + 32 : byte));
      ++p;
      continue;
    }
    lower.clear();
    append_lowercase(decode_utf8(p), lower);
    for (const char32_t c : lower) append_utf8(out, c);
  }
}

}  // namespace msltx::text::hf
