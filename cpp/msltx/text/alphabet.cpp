#include "msltx/text/alphabet.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "msltx/text/utf8.h"

namespace msltx::text {

std::vector<CharacterCount> count_characters(const PieceCounts& words) {
  std::array<int64_t, 0x800> common{};  // one and two bytes
  std::unordered_map<char32_t, int64_t> others;
  words.for_each([&](std::string_view word, int64_t count) {
    const char* p = word.data();
    const char* const end = p + word.size();
    while (p < end) {
      const char32_t code = decode_utf8(p);
      (code < common.size() ? common[code] : others[code]) += count;
    }
  });
  std::vector<CharacterCount> characters;
  for (char32_t code = 0; code < common.size(); ++code) {
    if (common[code] > 0) characters.push_back({code, common[code]});
  }
  for (const auto& [code, count] : others) characters.push_back({code, count});
  std::sort(characters.begin(), characters.end(), [](const auto& a, const auto& b) {
    return a.count != b.count ? a.count > b.count : a.code < b.code;
  });
  return characters;
}

std::vector<CharacterCount> limit_alphabet(std::vector<CharacterCount> characters, int64_t limit,
                                           double coverage) {
  if (limit > 0 && static_cast<size_t>(limit) < characters.size()) {
    characters.resize(static_cast<size_t>(limit));
  }
  if (coverage >= 1) return characters;
  int64_t all = 0, covered = 0;
  for (const auto& character : characters) all += character.count;
  size_t kept = 0;
  while (kept < characters.size() &&
         static_cast<double>(covered) < coverage * static_cast<double>(all)) {
    covered += characters[kept++].count;
  }
  characters.resize(kept);
  return characters;
}

}  // namespace msltx::text
