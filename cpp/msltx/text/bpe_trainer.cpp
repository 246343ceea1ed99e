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
#include <queue>
#include <unordered_map>

#include "msltx/base/error.h"
#include "msltx/text/byte_alphabet.h"
#include "msltx/text/utf8.h"

namespace msltx::text {
namespace {

constexpr int64_t kBytes = 256;
constexpr int64_t kMaxVocabSize = int64_t{1} << 30;
constexpr int64_t kMergesPerReport = 64;
constexpr uint32_t kNone = 0xffffffffu;

using Pair = uint64_t;  // left id << 32 | right id, so that pairs compare as HF compares them

Pair pair_of(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

// Open addressing from a pair to its place in the list of all pairs seen.
class PairIndex {
 public:
  PairIndex() : slots_(1 << 16) {}

  // The place of `pair`, `next` if it is new.
  uint32_t find_or_add(Pair pair, uint32_t next) {
    const uint64_t key = pair + 1;  // 0 marks a free slot
    for (uint64_t at = home(key);; at = (at + 1) & (slots_.size() - 1)) {
      Slot& slot = slots_[at];
      if (slot.key == key) return slot.place;
      if (slot.key != 0) continue;
      slot = {key, next};
      if (++used_ * 2 > slots_.size()) grow();
      return next;
    }
  }

 private:
  struct Slot {
    uint64_t key = 0;
    uint32_t place = 0;
  };
  uint64_t home(uint64_t key) const {
    return fold_product(key, 0x9E3779B97F4A7C15u) & (slots_.size() - 1);
  }
  void grow() {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.key == 0) continue;
      uint64_t at = home(slot.key);
      while (slots_[at].key != 0) at = (at + 1) & (slots_.size() - 1);
      slots_[at] = slot;
    }
  }
  std::vector<Slot> slots_;
  size_t used_ = 0;
};

class Trainer {
 public:
  Trainer(const PieceCounts& words, const BpeTrainerOptions& options) : options_(options) {
    add_first_tokens();
    add_words(words);
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

  void add_first_tokens() {
    for (const std::string& token : options_.special_tokens) token_id(token);
    auto alphabet = byte_alphabet();
    std::sort(alphabet.begin(), alphabet.end());
    for (const char32_t c : alphabet) {
      std::string token;
      append_utf8(token, c);
      token_id(token);
    }
  }

  // The id of a token; a new one gets the next.
  int32_t token_id(const std::string& token) {
    const auto [found, is_new] = ids_.try_emplace(token, static_cast<int32_t>(tokens_.size()));
    if (is_new) tokens_.push_back(token);
    return found->second;
  }

  void add_words(const PieceCounts& words) {
    int32_t byte_ids[kBytes];
    for (size_t b = 0; b < kBytes; ++b) {
      std::string token;
      append_utf8(token, byte_alphabet()[b]);
      byte_ids[b] = ids_.at(token);
    }
    words_.reserve(words.size());
    words.for_each([&](std::string_view piece, int64_t count) {
      if (piece.size() < 2) return;
      words_.push_back({symbols_.size(), static_cast<uint32_t>(piece.size()), count});
      for (const char c : piece) symbols_.push_back(byte_ids[static_cast<unsigned char>(c)]);
    });
    for (uint32_t w = 0; w < words_.size(); ++w) {
      const int32_t* ids = symbols_.data() + words_[w].begin;
      for (uint32_t i = 0; i + 1 < words_[w].length; ++i) {
        appear(pair_of(ids[i], ids[i + 1]), words_[w].count, w);
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
    const int32_t made =
        token_id(tokens_[static_cast<size_t>(left)] + tokens_[static_cast<size_t>(right)]);
    merges_.push_back({left, right});
    fresh_.clear();
    for (const uint32_t w : word_lists_[top.words]) merge_in_word(w, left, right, made);
    drop_list(top.words);
    for (const uint32_t place : fresh_) enqueue(place);
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
        appear(pair_of(ids[to - 1], made), word.count, w);
      }
      ++from;
      if (from + 1 < word.length) {
        vanish(pair_of(right, ids[from + 1]), word.count);
        appear(pair_of(made, ids[from + 1]), word.count, w);
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
  const int64_t least = kBytes + static_cast<int64_t>(options.special_tokens.size());
  if (options.vocab_size < least || options.vocab_size > kMaxVocabSize) {
    throw ValueError(concat("vocab_size is ", options.vocab_size, "; it takes ", least, " (",
                            options.special_tokens.size(), " special tokens and 256 bytes) to ",
                            kMaxVocabSize));
  }
}

BpeVocabulary train_bpe(const PieceCounts& words, const BpeTrainerOptions& options,
                        const ProgressFn& progress, const std::function<void()>& stop) {
  check(options);
  return Trainer(words, options).train(progress, stop);
}

}  // namespace msltx::text
