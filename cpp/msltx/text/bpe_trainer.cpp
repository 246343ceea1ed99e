// A heap of pairs by count, each entry with the words in which the pair appeared when the entry was
// made. Counts change under the entries; an entry whose count is out of date goes back into the
// heap with the right one when it comes up. A merge touches only the words of its entry.
//
// Ties: the pair with the lower left id, then the lower right id. Two habits of the Hugging Face
// trainer are kept because its ids follow from them: a pair's own count stays as it is when the
// pair is merged, and a pair that comes back (its token was made again from other parts) gets a
// second entry and, once that is merged, a second place in the list of merges, of which the last
// one counts.
#include "msltx/text/bpe_trainer.h"

#include <algorithm>
#include <array>
#include <queue>
#include <unordered_map>

#include "msltx/base/error.h"
#include "msltx/text/alphabet.h"
#include "msltx/text/byte_alphabet.h"
#include "msltx/text/pair_index.h"
#include "msltx/text/piece_kind.h"
#include "msltx/text/utf8.h"

namespace msltx::text {
namespace {

constexpr int64_t kBytes = 256;
constexpr int64_t kMaxVocabSize = int64_t{1} << 30;
constexpr int64_t kMergesPerReport = 64;
constexpr uint32_t kNone = 0xffffffffu;

// How a character stands in its word, where an affix says so.
enum LetterPlace { kLater = 1, kLast = 2, kLetterPlaces = 4 };
constexpr int32_t kUnseen = -1;  // a character does not stand so in any word

class Trainer {
 public:
  Trainer(const PieceCounts& words, const BpeTrainerOptions& options) : options_(options) {
    for (const std::string& token : options_.special_tokens) token_id(token, 1);
    if (options_.characters) {
      add_words_of_characters(words);
    } else {
      add_words_of_bytes(words);
    }
    if (static_cast<int64_t>(tokens_.size()) > options_.vocab_size) {
      throw ValueError(concat("vocab_size is ", options_.vocab_size, "; special tokens and the ",
                              "characters of the text take ", tokens_.size(),
                              " (see alphabet_limit)"));
    }
    count_pairs();
    for (uint32_t place = 0; place < pairs_.size(); ++place) enqueue(place);
  }

  BpeVocabulary train(const ProgressFn& progress, const std::function<void()>& stop) {
    const auto first = static_cast<int64_t>(tokens_.size());
    const int64_t total = options_.vocab_size - first;
    if (progress) progress({"merge", 0, total});
    while (static_cast<int64_t>(tokens_.size()) < options_.vocab_size && !queue_.empty()) {
      Entry top = queue_.top();
      queue_.pop();
      const int64_t count = pairs_[top.place].count;
      if (top.count != count) {
        top.count = count;
        if (count > 0) {
          queue_.push(top);
        } else {
          drop_list(top.words);
        }
        continue;
      }
      if (count < 1 || count < options_.min_frequency) break;
      merge(top);
      const int64_t done = static_cast<int64_t>(tokens_.size()) - first;
      if (done % kMergesPerReport == 0) {
        if (stop) stop();
        if (progress) progress({"merge", done, total});
      }
    }
    if (progress) progress({"merge", total, total});
    return {std::move(tokens_), merges_by_last_rank()};
  }

 private:
  struct Word {
    uint64_t begin;   // of its ids in symbols_
    uint32_t length;  // shrinks as pairs are merged
    int64_t count;
  };
  struct PairState {
    Pair pair;
    int64_t count = 0;
    uint32_t fresh =
        kNone;  // in word_lists_: where it appeared since its last entry, each word once
  };
  struct Shape {
    bool has_space = false;
    PieceKind kind = PieceKind::space;  // of its other characters
  };
  struct Entry {
    int64_t count;
    Pair pair;
    uint32_t place;  // in pairs_
    uint32_t words;  // in word_lists_
    uint32_t round;  // how many merges had been made: two entries of a pair differ in it
    bool operator<(const Entry& other) const {  // the queue gives the greatest first
      if (count != other.count) return count < other.count;
      if (pair != other.pair) return pair > other.pair;
      return round > other.round;
    }
  };

  // The id of a token of `length` letters; a new one gets the next.
  int32_t token_id(const std::string& token, int64_t length) {
    const auto [found, is_new] = ids_.try_emplace(token, static_cast<int32_t>(tokens_.size()));
    if (is_new) {
      tokens_.push_back(token);
      lengths_.push_back(length);
      if (options_.split_kinds) shapes_.push_back(shape_of(token));
    }
    return found->second;
  }

  void add_words_of_bytes(const PieceCounts& words) {
    auto alphabet = byte_alphabet();
    std::sort(alphabet.begin(), alphabet.end());
    std::string token;
    const auto id_of = [&](char32_t letter) {
      token.clear();
      append_utf8(token, letter);
      return token_id(token, 1);
    };
    for (const char32_t letter : alphabet) id_of(letter);
    int32_t byte_ids[kBytes];
    for (size_t b = 0; b < kBytes; ++b) byte_ids[b] = id_of(byte_alphabet()[b]);
    words_.reserve(words.size());
    words.for_each([&](std::string_view piece, int64_t count) {
      if (piece.size() < 2) return;
      words_.push_back({symbols_.size(), static_cast<uint32_t>(piece.size()), count});
      for (const char c : piece) symbols_.push_back(byte_ids[static_cast<unsigned char>(c)]);
    });
  }

  // Ids go to the characters first, by code point; then to those with affixes, by code point and,
  // of one character, in the order of LetterPlace.
  void add_words_of_characters(const PieceCounts& words) {
    auto alphabet = limit_alphabet(count_characters(words), options_.alphabet_limit,
                                   options_.character_coverage);
    std::sort(alphabet.begin(), alphabet.end(),
              [](const auto& a, const auto& b) { return a.code < b.code; });
    std::unordered_map<char32_t, std::array<int32_t, kLetterPlaces>> ids;
    for (const auto& [code, count] : alphabet) {
      ids[code].fill(kUnseen);
      std::string token;
      append_utf8(token, code);
      token_id(token, 1);
    }
    const int later = options_.continuing_prefix.empty() ? 0 : kLater;
    const int last = options_.word_suffix.empty() ? 0 : kLast;
    const auto for_each_letter = [&](std::string_view piece, auto&& fn) {
      const char* const end = piece.data() + piece.size();
      for (const char* p = piece.data(); p < end;) {
        const int first = p == piece.data() ? 0 : later;
        const auto found = ids.find(decode_utf8(p));
        if (found != ids.end())
          fn(found->second[static_cast<size_t>(first | (p == end ? last : 0))]);
      }
    };
    words.for_each([&](std::string_view piece, int64_t) {
      for_each_letter(piece, [](int32_t& id) { id = 0; });
    });
    for (const auto& [code, count] : alphabet) {
      for (int place = 0; place < kLetterPlaces; ++place) {
        int32_t& id = ids[code][static_cast<size_t>(place)];
        if (id == kUnseen) continue;
        std::string token = place & kLater ? options_.continuing_prefix : "";
        append_utf8(token, code);
        if (place & kLast) token += options_.word_suffix;
        id = token_id(token, 1);
      }
    }
    words_.reserve(words.size());
    words.for_each([&](std::string_view piece, int64_t count) {
      const size_t begin = symbols_.size();
      for_each_letter(piece, [&](int32_t id) { symbols_.push_back(id); });
      words_.push_back({begin, static_cast<uint32_t>(symbols_.size() - begin), count});
    });
  }

  void count_pairs() {
    for (uint32_t w = 0; w < words_.size(); ++w) {
      const int32_t* ids = symbols_.data() + words_[w].begin;
      for (uint32_t i = 0; i + 1 < words_[w].length; ++i) {
        if (joinable(ids[i], ids[i + 1])) appear(pair_of(ids[i], ids[i + 1]), words_[w].count, w);
      }
    }
  }

  PairState& state_of(Pair pair) {
    const auto next = static_cast<uint32_t>(pairs_.size());
    const uint32_t place = index_.find_or_add(pair, next);
    if (place == next) pairs_.push_back({pair});
    touched_ = place;
    return pairs_[place];
  }

  void appear(Pair pair, int64_t count, uint32_t word) {
    PairState& state = state_of(pair);
    state.count += count;
    if (state.fresh == kNone) {
      state.fresh = new_list();
      fresh_.push_back(touched_);
    }
    auto& list = word_lists_[state.fresh];
    if (list.empty() || list.back() != word) list.push_back(word);
  }

  void vanish(Pair pair, int64_t count) { state_of(pair).count -= count; }

  uint32_t new_list() {
    if (free_lists_.empty()) {
      word_lists_.emplace_back();
      return static_cast<uint32_t>(word_lists_.size()) - 1;
    }
    const uint32_t list = free_lists_.back();
    free_lists_.pop_back();
    return list;
  }
  void drop_list(uint32_t list) {
    word_lists_[list] = {};
    free_lists_.push_back(list);
  }

  void enqueue(uint32_t place) {
    PairState& state = pairs_[place];
    if (state.count > 0) {
      queue_.push(
          {state.count, state.pair, place, state.fresh, static_cast<uint32_t>(merges_.size())});
    } else {
      drop_list(state.fresh);
    }
    state.fresh = kNone;
  }

  void merge(const Entry& top) {
    const auto left = static_cast<int32_t>(top.pair >> 32);
    const auto right = static_cast<int32_t>(top.pair & 0xffffffffu);
    std::string_view end = tokens_[static_cast<size_t>(right)];
    if (end.starts_with(options_.continuing_prefix)) {
      end.remove_prefix(options_.continuing_prefix.size());
    }
    const int32_t made = token_id(tokens_[static_cast<size_t>(left)] + std::string(end),
                                  length(left) + length(right));
    merges_.push_back({left, right});
    fresh_.clear();
    for (const uint32_t w : word_lists_[top.words]) merge_in_word(w, left, right, made);
    drop_list(top.words);
    for (const uint32_t place : fresh_) enqueue(place);
  }

  int64_t length(int32_t id) const { return lengths_[static_cast<size_t>(id)]; }
  bool fits(int32_t left, int32_t right) const {
    return (options_.max_token_length == 0 ||
            length(left) + length(right) < options_.max_token_length) &&
           joinable(left, right);
  }
  // Whether kinds of characters allow it.
  bool joinable(int32_t left, int32_t right) const {
    if (!options_.split_kinds) return true;
    const Shape& first = shapes_[static_cast<size_t>(left)];
    const Shape& second = shapes_[static_cast<size_t>(right)];
    return !second.has_space && (first.kind == PieceKind::space || first.kind == second.kind);
  }
  static Shape shape_of(std::string_view token) {
    Shape shape;
    for (const char* p = token.data(); p < token.data() + token.size();) {
      const PieceKind kind = piece_kind(decode_utf8(p));
      if (kind == PieceKind::space) {
        shape.has_space = true;
      } else {
        shape.kind = kind;
      }
    }
    return shape;
  }

  void merge_in_word(uint32_t w, int32_t left, int32_t right, int32_t made) {
    Word& word = words_[w];
    int32_t* const ids = symbols_.data() + word.begin;
    uint32_t to = 0;
    for (uint32_t from = 0; from < word.length; ++from, ++to) {
      if (ids[from] != left || from + 1 == word.length || ids[from + 1] != right) {
        ids[to] = ids[from];
        continue;
      }
      if (to > 0) {
        vanish(pair_of(ids[to - 1], left), word.count);
        if (fits(ids[to - 1], made)) appear(pair_of(ids[to - 1], made), word.count, w);
      }
      ++from;
      if (from + 1 < word.length) {
        vanish(pair_of(right, ids[from + 1]), word.count);
        if (fits(made, ids[from + 1])) appear(pair_of(made, ids[from + 1]), word.count, w);
      }
      ids[to] = made;
    }
    word.length = to;
  }

  // A pair that was merged twice counts where it stood last.
  std::vector<std::pair<int32_t, int32_t>> merges_by_last_rank() const {
    std::unordered_map<Pair, size_t> last;
    for (size_t rank = 0; rank < merges_.size(); ++rank) {
      last[pair_of(merges_[rank].first, merges_[rank].second)] = rank;
    }
    std::vector<std::pair<int32_t, int32_t>> kept;
    kept.reserve(last.size());
    for (size_t rank = 0; rank < merges_.size(); ++rank) {
      if (last[pair_of(merges_[rank].first, merges_[rank].second)] == rank) {
        kept.push_back(merges_[rank]);
      }
    }
    return kept;
  }

  const BpeTrainerOptions& options_;
  std::vector<std::string> tokens_;
  std::vector<int64_t> lengths_;  // of the tokens, in letters of the alphabet
  std::vector<Shape> shapes_;     // of the tokens, with split_kinds
  std::unordered_map<std::string, int32_t> ids_;
  std::vector<std::pair<int32_t, int32_t>> merges_;

  std::vector<Word> words_;
  std::vector<int32_t> symbols_;  // the ids of all words

  PairIndex index_;
  std::vector<PairState> pairs_;
  uint32_t touched_ = 0;         // the place state_of() looked up last
  std::vector<uint32_t> fresh_;  // places of the pairs with fresh words
  std::vector<std::vector<uint32_t>> word_lists_;
  std::vector<uint32_t> free_lists_;
  std::priority_queue<Entry> queue_;
};

}  // namespace

void check(const BpeTrainerOptions& options) {
  if (options.min_frequency < 0) {
    throw ValueError(
        concat("min_frequency is ", options.min_frequency, "; it takes an integer of at least 0"));
  }
  const int64_t bytes = options.characters ? 0 : kBytes;
  const int64_t least = bytes + static_cast<int64_t>(options.special_tokens.size());
  if (options.vocab_size < least || options.vocab_size > kMaxVocabSize) {
    throw ValueError(concat("vocab_size is ", options.vocab_size, "; it takes ", least, " (",
                            options.special_tokens.size(), " special tokens",
                            bytes ? " and 256 bytes" : "", ") to ", kMaxVocabSize));
  }
  for (const auto& [name, value] : {std::pair{"max_token_length", options.max_token_length},
                                    std::pair{"alphabet_limit", options.alphabet_limit}}) {
    if (value < 0)
      throw ValueError(concat(name, " is ", value, "; it takes an integer, 0 for none"));
  }
  if (!(options.character_coverage > 0 && options.character_coverage <= 1)) {
    throw ValueError(concat("character_coverage is ", options.character_coverage,
                            "; it takes a share above 0, up to 1"));
  }
}

BpeVocabulary train_bpe(const PieceCounts& words, const BpeTrainerOptions& options,
                        const ProgressFn& progress, const std::function<void()>& stop) {
  check(options);
  return Trainer(words, options).train(progress, stop);
}

}  // namespace msltx::text
