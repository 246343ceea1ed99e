#include "msltx/text/unicode.h"

#include <algorithm>
#include <array>
#include <vector>

#include "msltx/text/utf8.h"

namespace msltx::text {
namespace {

// LATIN CAPITAL LETTER I WITH DOT ABOVE: the one character whose lowercase is two.
constexpr char32_t kDottedCapitalI = 0x130;
constexpr std::string_view kDottedSmallI = "i\xcc\x87";

// The runs unrolled: a block number per 256 code points, then a category per code point.
struct Categories {
  static constexpr char32_t kCodePoints = 0x110000;
  std::array<uint16_t, kCodePoints / 256> block_of{};
  std::vector<std::array<GeneralCategory, 256>> blocks;

  Categories() {
    std::array<GeneralCategory, 256> block{};
    int run = -1;
    for (char32_t c = 0; c < kCodePoints; ++c) {
      if (run + 1 < unicode::kCategoryRunCount && unicode::kCategoryRuns[run + 1] >> 5 == c) ++run;
      block[c & 255] = static_cast<GeneralCategory>(unicode::kCategoryRuns[run] & 31);
      if ((c & 255) != 255) continue;
      const auto same = std::find(blocks.begin(), blocks.end(), block);
      block_of[c >> 8] = static_cast<uint16_t>(same - blocks.begin());
      if (same == blocks.end()) blocks.push_back(block);
    }
  }
};

}  // namespace

GeneralCategory category_of(char32_t c) {
  static const Categories categories;
  if (c >= Categories::kCodePoints) return GeneralCategory::Cn;
  return categories.blocks[categories.block_of[c >> 8]][c & 255];
}

char32_t simple_lowercase(char32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
  const auto* const begin = unicode::kLowercase;
  const auto* const end = begin + unicode::kLowercaseCount;
  const auto* range = std::upper_bound(
      begin, end, c,
      [](char32_t code, const unicode::LowercaseRange& r) { return code < r.first; });
  if (range == begin) return c;
  --range;
  if (c > range->last || static_cast<int32_t>(c - range->first) % range->step != 0) return c;
  return static_cast<char32_t>(static_cast<int32_t>(c) + range->delta);
}

void append_lowercase(std::string_view text, std::string& out) {
  const char* p = text.data();
  const char* const end = p + text.size();
  out.reserve(out.size() + text.size());
  while (p < end) {
    const auto byte = static_cast<unsigned char>(*p);
    if (byte < 0x80) {
      out.push_back(static_cast<char>(byte >= 'A' && byte <= 'Z' ? byte + 32 : byte));
      ++p;
      continue;
    }
    const char32_t c = decode_utf8(p);
    if (c == kDottedCapitalI) {
      out += kDottedSmallI;
    } else {
      append_utf8(out, simple_lowercase(c));
    }
  }
}

}  // namespace msltx::text
