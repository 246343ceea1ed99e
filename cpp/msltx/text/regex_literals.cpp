#include "msltx/text/regex_literals.h"

#include <algorithm>
#include <set>
#include <span>
#include <string_view>

#include "msltx/base/error.h"
#include "msltx/text/regex_properties.h"
#include "msltx/text/unicode.h"
#include "msltx/text/utf8.h"

namespace msltx::text {
namespace {

// Letters whose other case came with Unicode 15.1 or 16.0: PCRE2 10.42 does not know it.
struct NewerCase {
  char32_t upper, lower, count;  // of so many that follow each other
};
constexpr NewerCase kNewerCases[] = {{0x1C89, 0x1C8A, 1}, {0xA7CB, 0x264, 1},
                                     {0xA7CC, 0xA7CD, 1}, {0xA7DA, 0xA7DB, 1},
                                     {0xA7DC, 0x19B, 1},  {0x10D50, 0x10D70, 22}};

std::span<const MultipleFold> multiple_folds() {
  return {kMultipleFolds, static_cast<size_t>(kMultipleFoldCount)};
}

// Of the letters that multiple folds are made of.
char32_t simple_fold(char32_t c) {
  switch (c) {
    case 0x17F:  // long s
      return 's';
    case 0x345:  // iota subscript
    case 0x1FBE:
      return 0x3B9;
    case 0x3F1:  // rho symbol
      return 0x3C1;
    default:
      return simple_lowercase(c);
  }
}

// The fold of characters[at], or the longest one that the characters from `at` on make; empty where
// there is neither. `length` tells how many characters it takes.
std::u32string_view fold_at(const std::u32string& characters, size_t at, size_t& length) {
  std::u32string_view longest;
  length = 1;
  for (const MultipleFold& fold : multiple_folds()) {
    if (fold.from == characters[at]) return fold.to;
  }
  for (const MultipleFold& fold : multiple_folds()) {
    const std::u32string_view to = fold.to;
    const bool stands_here =
        to.size() > longest.size() && to.size() <= characters.size() - at &&
        std::equal(to.begin(), to.end(), characters.begin() + static_cast<std::ptrdiff_t>(at),
                   [](char32_t folded, char32_t c) { return folded == simple_fold(c); });
    if (stands_here) longest = to;
  }
  if (!longest.empty()) length = longest.size();
  return longest;
}

std::string with_newer_case(char32_t c) {
  for (const NewerCase& pairs : kNewerCases) {
    const bool is_upper = c >= pairs.upper && c < pairs.upper + pairs.count;
    const bool is_lower = c >= pairs.lower && c < pairs.lower + pairs.count;
    if (!is_upper && !is_lower) continue;
    const char32_t other = is_upper ? c - pairs.upper + pairs.lower : c - pairs.lower + pairs.upper;
    return concat("[", literal({c, other}), "]");
  }
  return literal({c});
}

}  // namespace

std::string literal(const std::u32string& characters) {
  std::string out;
  for (const char32_t c : characters) {
    const bool is_letter_or_digit =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (c <= ' ' || c == 0x7F) {
      out += concat("\\x", "0123456789ABCDEF"[c >> 4], "0123456789ABCDEF"[c & 15]);
    } else {
      if (c < 0x80 && !is_letter_or_digit) out += '\\';
      append_utf8(out, c);
    }
  }
  return out;
}

std::string ignoring_case(const std::u32string& characters, bool one_by_one) {
  std::string out;
  for (size_t at = 0, length = 1; at < characters.size(); at += length) {
    const std::u32string_view fold =
        one_by_one ? std::u32string_view() : fold_at(characters, at, length);
    if (fold.empty()) {
      out += with_newer_case(characters[at]);
      continue;
    }
    out += concat("(?:", literal(std::u32string(fold)));
    for (const MultipleFold& other : multiple_folds()) {
      if (fold == other.to) out += concat("|", literal({other.from}));
    }
    out += ')';
  }
  return out.empty() ? out : concat("(?i:", out, ")");
}

std::string ignoring_case(const CodePoints& members, bool others) {
  CodePoints all = members;
  std::set<std::u32string_view> folds;
  if (!others) {
    for (const MultipleFold& fold : multiple_folds()) {
      if (members.has(fold.from)) folds.insert(fold.to);
    }
  }
  for (const MultipleFold& fold : multiple_folds()) {  // those that become the same
    if (folds.contains(fold.to)) all |= CodePoints(fold.from, fold.from);
  }
  for (const NewerCase& pairs : kNewerCases) {
    for (char32_t i = 0; i < pairs.count; ++i) {
      const char32_t upper = pairs.upper + i, lower = pairs.lower + i;
      if (members.has(upper)) all |= CodePoints(lower, lower);
      if (members.has(lower)) all |= CodePoints(upper, upper);
    }
  }
  std::string out = all.pattern(others);
  for (const std::u32string_view fold : folds) out += concat("|", literal(std::u32string(fold)));
  return concat("(?i:", out, ")");
}

}  // namespace msltx::text
