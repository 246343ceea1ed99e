// The definitions that the fast code in text/ is compared with: as short and as slow as they come.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "msltx/base/philox.h"
#include "msltx/text/byte_alphabet.h"
#include "msltx/text/unicode.h"
#include "msltx/text/utf8.h"

namespace msltx::text::reference {

// GPT-2's pattern, alternative by alternative, as a backtracking matcher tries them.
inline std::vector<std::string> split_gpt2(const std::string& text) {
  std::vector<char32_t> c;
  for (const char* p = text.data(); p < text.data() + text.size();) c.push_back(decode_utf8(p));
  const size_t n = c.size();
  const auto kind = [&](size_t i) { return class_of(c[i]); };
  const auto run = [&](size_t i, CharClass k) {
    while (i < n && kind(i) == k) ++i;
    return i;
  };
  const auto match = [&](size_t at) {
    for (const std::u32string_view word : {U"'s", U"'t", U"'re", U"'ve", U"'m", U"'ll", U"'d"}) {
      if (std::u32string_view(c.data() + at, n - at).starts_with(word)) return at + word.size();
    }
    for (const CharClass k : {CharClass::letter, CharClass::number, CharClass::other}) {
      const size_t from = c[at] == ' ' ? at + 1 : at;  // the optional space
      if (run(from, k) > from) return run(from, k);
    }
    const size_t end = run(at, CharClass::space);
    if (end == n) return end;             // \s+(?!\S) at the end of the text
    return end - at > 1 ? end - 1 : end;  // \s+(?!\S) gives one back, or \s+
  };
  std::vector<std::string> pieces;
  for (size_t at = 0; at < n;) {
    const size_t end = match(at);
    std::string piece;
    for (; at < end; ++at) append_utf8(piece, c[at]);
    pieces.push_back(piece);
  }
  return pieces;
}

// Applies the merge of the lowest rank, leftmost, until none applies.
inline std::vector<std::string> merge(
    std::string_view piece, const std::vector<std::pair<std::string, std::string>>& merges) {
  std::vector<std::string> parts;
  for (const char c : piece) parts.push_back(to_byte_alphabet(std::string_view(&c, 1)));
  for (;;) {
    size_t best = merges.size(), where = 0;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      for (size_t rank = 0; rank < best; ++rank) {
        if (merges[rank].first == parts[i] && merges[rank].second == parts[i + 1]) {
          best = rank;
          where = i;
        }
      }
    }
    if (best == merges.size()) return parts;
    parts[where] += parts[where + 1];
    parts.erase(parts.begin() + static_cast<ptrdiff_t>(where) + 1);
  }
}

// Counts all pairs anew for every merge; the most frequent one, of those the lowest ids.
inline std::vector<std::pair<int32_t, int32_t>> train(const std::map<std::string, int64_t>& words,
                                                      std::vector<std::string> tokens,
                                                      size_t vocab_size, int64_t min_frequency) {
  const auto id_of = [&](const std::string& token) {
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (tokens[i] == token) return static_cast<int32_t>(i);
    }
    tokens.push_back(token);
    return static_cast<int32_t>(tokens.size()) - 1;
  };
  std::vector<std::pair<std::vector<int32_t>, int64_t>> split;
  for (const auto& [word, count] : words) {
    std::vector<int32_t> ids;
    for (const char c : word) ids.push_back(id_of(to_byte_alphabet(std::string_view(&c, 1))));
    split.emplace_back(ids, count);
  }
  std::vector<std::pair<int32_t, int32_t>> merges;
  while (tokens.size() < vocab_size) {
    std::map<std::pair<int32_t, int32_t>, int64_t> counts;
    for (const auto& [ids, count] : split) {
      for (size_t i = 0; i + 1 < ids.size(); ++i) counts[{ids[i], ids[i + 1]}] += count;
    }
    std::pair<int32_t, int32_t> best;
    int64_t most = 0;
    for (const auto& [pair, count] : counts) {
      if (count > most) std::tie(best, most) = std::pair(pair, count);
    }
    if (most < 1 || most < min_frequency) break;
    merges.push_back(best);
    const int32_t made =
        id_of(tokens[static_cast<size_t>(best.first)] + tokens[static_cast<size_t>(best.second)]);
    for (auto& [ids, count] : split) {
      for (size_t i = 0; i + 1 < ids.size(); ++i) {
        if (ids[i] != best.first || ids[i + 1] != best.second) continue;
        ids[i] = made;
        ids.erase(ids.begin() + static_cast<ptrdiff_t>(i) + 1);
      }
    }
  }
  return merges;
}

// Deterministic random text: characters of all classes, with runs and contractions.
class RandomText {
 public:
  explicit RandomText(uint32_t seed) : seed_(seed) {}
  uint32_t below(uint32_t limit) {
    return philox(seed_, RandomStream::sampling, 0, 0, index_++)[0] % limit;
  }
  std::string text(uint32_t characters) {
    static const char32_t kPool[] = {' ',     ' ',    'a',  'B',    's',    't',    '\'',
                                     '7',     '.',    '\n', '\t',   0xA0,   0xE9,   0x4E2D,
                                     0x664,   0x2003, '-',  0x301,  0x3000, 0x2460, 0x1F600,
                                     0x1D7D9, 'r',    'e',  0x200B, 0x10400};
    std::string out;
    for (uint32_t i = 0; i < characters;) {
      const char32_t c = kPool[below(sizeof kPool / sizeof *kPool)];
      const uint32_t run = below(4) == 0 ? 1 + below(5) : 1;
      for (uint32_t k = 0; k < run; ++k) append_utf8(out, c);
      i += run;
    }
    return out;
  }

 private:
  uint32_t seed_, index_ = 0;
};

}  // namespace msltx::text::reference
