// All ways to write the words in pieces: for every word its arcs, each a piece that stands between
// two letters. Laid out once, in the order of words and of beginnings; pieces are only ever left
// out.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "msltx/base/executor.h"
#include "msltx/text/unigram_seed.h"

namespace msltx::text {

class UnigramLattices {
 public:
  // Words are in this many shares of about equal size, whatever the number of threads: partial sums
  // are per share and added in order. As many threads at most have work.
  static constexpr size_t kShares = 8;
  static constexpr uint32_t kDropped = 0xffffffffu;

  struct Arc {
    uint32_t piece;
    uint16_t begin, end;  // letters of the word
  };

  // Pieces are numbered: the letters of the alphabet, then the seeds.
  UnigramLattices(const LetterCorpus& corpus, const UnigramSeeds& seeds);

  std::span<const Arc> of(size_t word) const { return of(shares_[share_of(word)], word); }

  // fn(share, word, its arcs) for all words, shares side by side.
  template <class Fn>
  void for_each(Executor& executor, Fn&& fn) const {
    executor.parallel_for(kShares, [&](int64_t task, int) {
      executor.check_cancelled();
      const auto k = static_cast<size_t>(task);
      for (size_t w = shares_[k].first_word; w < shares_[k].last_word; ++w) {
        fn(k, w, of(shares_[k], w));
      }
    });
  }

  // Gives pieces new numbers; arcs of those that get kDropped go.
  void rename(const std::vector<uint32_t>& new_id, Executor& executor);

 private:
  struct Share {
    size_t first_word = 0, last_word = 0;
    std::vector<Arc> arcs;
  };

  void share_words(const LetterCorpus& corpus);
  size_t share_of(size_t word) const {
    size_t k = 0;
    while (word >= shares_[k].last_word) ++k;
    return k;
  }
  std::span<const Arc> of(const Share& share, size_t word) const {
    const size_t begin = first_arc_[word];
    const size_t end = word + 1 < share.last_word ? first_arc_[word + 1] : share.arcs.size();
    return {share.arcs.data() + begin, end - begin};
  }

  std::vector<Share> shares_;
  std::vector<size_t> first_arc_;  // by word, in its share
};

}  // namespace msltx::text
