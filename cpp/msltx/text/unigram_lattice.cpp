#include "msltx/text/unigram_lattice.h"

namespace msltx::text {

UnigramLattices::UnigramLattices(const LetterCorpus& corpus, const UnigramSeeds& seeds) {
  const auto& words = corpus.words;
  const size_t size = corpus.letters.size();
  // Arcs by the letter they begin at: counted, then put in.
  std::vector<size_t> arcs_before(size + 1);
  for (size_t at = 0; at < size; ++at) arcs_before[at + 1] = 1;
  for (const auto& seed : seeds.pieces) {
    for (uint32_t i = 0; i < seed.places; ++i) ++arcs_before[seeds.places[seed.place + i] + 1];
  }
  for (size_t at = 0; at < size; ++at) arcs_before[at + 1] += arcs_before[at];

  share_words(corpus);
  first_arc_.resize(words.size());
  std::vector<size_t> arcs_before_share(kShares);
  for (size_t k = 0; k < kShares; ++k) {
    Share& share = shares_[k];
    const auto first = [&](size_t w) { return w < words.size() ? words[w].begin : size; };
    arcs_before_share[k] = arcs_before[first(share.first_word)];
    share.arcs.resize(arcs_before[first(share.last_word)] - arcs_before_share[k]);
    for (size_t w = share.first_word; w < share.last_word; ++w) {
      first_arc_[w] = arcs_before[words[w].begin] - arcs_before_share[k];
    }
  }
  const std::vector<uint32_t> word_of = corpus.word_of_letters();
  std::vector<uint16_t> filled(size);
  const auto put = [&](uint32_t at, uint32_t piece, uint32_t length) {
    const size_t k = share_of(word_of[at]);
    const uint32_t begin = at - words[word_of[at]].begin;
    shares_[k].arcs[arcs_before[at] - arcs_before_share[k] + filled[at]++] = {
        piece, static_cast<uint16_t>(begin), static_cast<uint16_t>(begin + length)};
  };
  for (uint32_t at = 0; at < size; ++at) put(at, corpus.letters[at] - 1, 1);
  auto piece = static_cast<uint32_t>(corpus.alphabet.size());
  for (const auto& seed : seeds.pieces) {
    for (uint32_t i = 0; i < seed.places; ++i) {
      put(seeds.places[seed.place + i], piece, seed.length);
    }
    ++piece;
  }
}

void UnigramLattices::share_words(const LetterCorpus& corpus) {
  shares_.resize(kShares);
  size_t w = 0;
  for (size_t k = 0; k < kShares; ++k) {
    shares_[k].first_word = w;
    const size_t until = corpus.letters.size() * (k + 1) / kShares;
    while (w < corpus.words.size() && corpus.words[w].begin < until) ++w;
    shares_[k].last_word = w;
  }
}

void UnigramLattices::rename(const std::vector<uint32_t>& new_id, Executor& executor) {
  executor.parallel_for(kShares, [&](int64_t task, int) {
    Share& share = shares_[static_cast<size_t>(task)];
    size_t to = 0;
    for (size_t w = share.first_word; w < share.last_word; ++w) {
      const auto arcs = of(share, w);
      first_arc_[w] = to;
      for (Arc arc : arcs) {
        arc.piece = new_id[arc.piece];
        if (arc.piece != kDropped) share.arcs[to++] = arc;
      }
    }
    share.arcs.resize(to);
  });
}

}  // namespace msltx::text
