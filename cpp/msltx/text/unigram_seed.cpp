#include "msltx/text/unigram_seed.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <unordered_map>

#include "msltx/base/error.h"
#include "msltx/text/piece_kind.h"
#include "msltx/text/utf8.h"

namespace msltx::text {
namespace {

// Suffixes of the words that begin with one letter, in order, and their repeated beginnings.
class SuffixGroup {
 public:
  SuffixGroup(const LetterCorpus& corpus, const std::vector<PieceKind>& kinds,
              const std::vector<uint32_t>& word_of, const std::vector<uint64_t>& keys, int bits,
              uint32_t max_length, int64_t min_count)
      : corpus_(corpus),
        kinds_(kinds),
        word_of_(word_of),
        keys_(keys),
        bits_(bits),
        max_length_(max_length),
        min_count_(min_count) {}

  // Sorts places[begin, end) and appends the pieces found there.
  void find(std::vector<uint32_t>& places, size_t begin, size_t end,
            std::vector<UnigramSeeds::Piece>& out) const {
    const auto at = [&](size_t i) { return places.begin() + static_cast<ptrdiff_t>(i); };
    std::sort(at(begin), at(end), [&](uint32_t a, uint32_t b) {
      const int order = compare(a, b);
      return order != 0 ? order < 0 : a < b;
    });
    struct Open {  // a beginning of this length that suffixes share from `first` on
      size_t first;
      uint32_t length;
      int64_t count_before;
    };
    std::vector<Open> open;
    int64_t count = 0;  // of the suffixes so far
    uint32_t shared = 0;
    for (size_t i = begin; i < end; ++i) {
      // The suffix at i opens all of itself; what the next one does not share is closed.
      const uint32_t own = std::min(suffix_length(places[i]), max_length_);
      const uint32_t with_next = i + 1 < end ? common_length(places[i], places[i + 1]) : 0;
      if (own > shared) open.push_back({i, own, count});
      count += corpus_.words[word_of_[places[i]]].count;
      size_t first = i;
      while (!open.empty() && open.back().length > with_next) {
        const Open closed = open.back();
        open.pop_back();
        first = closed.first;
        offer(places, closed.first, i + 1, closed.length, count - closed.count_before, out);
        if (with_next > 0 && (open.empty() || open.back().length < with_next)) {
          open.push_back({first, with_next, closed.count_before});
          break;
        }
      }
      shared = with_next;
    }
  }

 private:
  uint32_t suffix_length(uint32_t place) const {
    const auto& word = corpus_.words[word_of_[place]];
    return word.begin + word.length - place;
  }
  // Whether the last letter of the key is there: then there may be more.
  bool is_full(uint64_t key) const { return (key & ((uint64_t{1} << bits_) - 1)) != 0; }
  uint32_t letters_of_key() const { return static_cast<uint32_t>(64 / bits_); }

  int compare(uint32_t a, uint32_t b) const {
    for (uint32_t done = 0;; done += letters_of_key()) {
      const uint64_t key_a = keys_[a + done], key_b = keys_[b + done];
      if (key_a != key_b) return key_a < key_b ? -1 : 1;
      if (!is_full(key_a) || done + letters_of_key() >= max_length_) return 0;
      if (suffix_length(a) <= done + letters_of_key() ||
          suffix_length(b) <= done + letters_of_key()) {
        const uint32_t length_a = suffix_length(a), length_b = suffix_length(b);
        return length_a < length_b ? -1 : length_a > length_b ? 1 : 0;
      }
    }
  }
  uint32_t common_length(uint32_t a, uint32_t b) const {
    const uint32_t limit = std::min({suffix_length(a), suffix_length(b), max_length_});
    uint32_t length = 0;
    while (length < limit && corpus_.letters[a + length] == corpus_.letters[b + length]) ++length;
    return length;
  }

  void offer(const std::vector<uint32_t>& places, size_t first, size_t end, uint32_t length,
             int64_t count, std::vector<UnigramSeeds::Piece>& out) const {
    if (length < 2 || count < min_count_) return;
    const uint32_t begin = places[first];
    PieceKind before = PieceKind::space;
    for (uint32_t i = 0; i < length; ++i) {
      const PieceKind kind = kinds_[corpus_.letters[begin + i]];
      if (i > 0 && kind == PieceKind::space) return;
      if (before != PieceKind::space && kind != before) return;
      before = kind;
    }
    out.push_back(
        {static_cast<uint32_t>(first), length, static_cast<uint32_t>(end - first), count});
  }

  const LetterCorpus& corpus_;
  const std::vector<PieceKind>& kinds_;  // by letter
  const std::vector<uint32_t>& word_of_;
  const std::vector<uint64_t>& keys_;
  int bits_;
  uint32_t max_length_;
  int64_t min_count_;
};

}  // namespace

LetterCorpus::LetterCorpus(const PieceCounts& counts, std::vector<CharacterCount> characters)
    : alphabet(std::move(characters)) {
  std::vector<std::pair<std::string, int64_t>> sorted;
  sorted.reserve(counts.size());
  counts.for_each([&](std::string_view word, int64_t count) { sorted.emplace_back(word, count); });
  std::sort(sorted.begin(), sorted.end());
  std::unordered_map<char32_t, uint32_t> letter_of;
  for (size_t i = 0; i < alphabet.size(); ++i) {
    letter_of[alphabet[i].code] = static_cast<uint32_t>(i) + 1;
  }
  for (const auto& entry : sorted) {
    const auto& word = entry.first;
    const auto count = entry.second;
    size_t begin = letters.size();
    const auto end_word = [&] {
      if (letters.size() == begin) return;
      words.push_back(
          {static_cast<uint32_t>(begin), static_cast<uint32_t>(letters.size() - begin), count});
      begin = letters.size();
    };
    for (const char* p = word.data(); p < word.data() + word.size();) {
      const auto found = letter_of.find(decode_utf8(p));
      if (found == letter_of.end()) {
        end_word();
        continue;
      }
      letters.push_back(found->second);
      if (letters.size() - begin == kLongestWord) end_word();
    }
    end_word();
    if (letters.size() >= std::numeric_limits<uint32_t>::max()) {
      throw ValueError(concat("the distinct words have ", letters.size(),
                              " characters; the trainer of Unigram takes up to 2^32 - 2"));
    }
  }
}

std::string LetterCorpus::text(size_t begin, size_t length) const {
  std::string out;
  for (size_t i = begin; i < begin + length; ++i) append_utf8(out, alphabet[letters[i] - 1].code);
  return out;
}

std::vector<uint32_t> LetterCorpus::word_of_letters() const {
  std::vector<uint32_t> word_of;
  word_of.reserve(letters.size());
  for (size_t w = 0; w < words.size(); ++w) {
    word_of.insert(word_of.end(), words[w].length, static_cast<uint32_t>(w));
  }
  return word_of;
}

UnigramSeeds find_seeds(const LetterCorpus& corpus, size_t most, uint32_t max_length,
                        int64_t min_count, Executor& executor) {
  const size_t size = corpus.letters.size();
  std::vector<PieceKind> kinds(corpus.alphabet.size() + 1);
  for (size_t i = 0; i < corpus.alphabet.size(); ++i) {
    kinds[i + 1] = piece_kind(corpus.alphabet[i].code);
  }
  // As many letters as fit in a word, from each place to the end of its word.
  const int bits = static_cast<int>(std::bit_width(corpus.alphabet.size() | 1));
  std::vector<uint64_t> keys(size);
  const std::vector<uint32_t> word_of = corpus.word_of_letters();
  const int top = bits * (64 / bits - 1);
  for (const auto& word : corpus.words) {
    uint64_t key = 0;
    for (uint32_t at = word.begin + word.length; at-- > word.begin;) {
      key = key >> bits | uint64_t{corpus.letters[at]} << top;
      keys[at] = key;
    }
  }

  // Suffixes by their first letter, each group a task.
  UnigramSeeds seeds;
  std::vector<size_t> group_end(corpus.alphabet.size() + 1);
  for (const uint32_t letter : corpus.letters) ++group_end[letter];
  for (size_t i = 1; i < group_end.size(); ++i) group_end[i] += group_end[i - 1];
  seeds.places.resize(size);
  std::vector<size_t> next(group_end.size());
  for (size_t i = 1; i < group_end.size(); ++i) next[i] = group_end[i - 1];
  for (size_t at = 0; at < size; ++at) {
    seeds.places[next[corpus.letters[at]]++] = static_cast<uint32_t>(at);
  }
  const SuffixGroup group(corpus, kinds, word_of, keys, bits, max_length, min_count);
  std::vector<std::vector<UnigramSeeds::Piece>> found(group_end.size());
  executor.parallel_for(static_cast<int64_t>(corpus.alphabet.size()), [&](int64_t task, int) {
    executor.check_cancelled();
    const auto letter = static_cast<size_t>(task) + 1;
    group.find(seeds.places, group_end[letter - 1], group_end[letter], found[letter]);
  });
  for (const auto& pieces : found) {
    seeds.pieces.insert(seeds.pieces.end(), pieces.begin(), pieces.end());
  }
  std::stable_sort(seeds.pieces.begin(), seeds.pieces.end(), [](const auto& a, const auto& b) {
    return a.count * a.length > b.count * b.length;
  });
  if (seeds.pieces.size() > most) seeds.pieces.resize(most);
  return seeds;
}

}  // namespace msltx::text
