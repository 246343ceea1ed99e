// A round goes over the arcs of all words in memory order, instead of finding pieces in the words
// again. Sums over all ways to write a word are of probabilities, not of logarithms; each letter of
// a piece is given a constant factor, which keeps the sums in range and cancels.
#include "msltx/text/unigram_trainer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <unordered_set>
#include <utility>

#include "msltx/base/error.h"
#include "msltx/text/unigram_lattice.h"
#include "msltx/text/unigram_seed.h"

namespace msltx::text {
namespace {

// As in SentencePiece: pieces to begin with, rounds of expectation between two prunings, what a
// pruning keeps, how far beyond the vocabulary pruning stops, and the least expected count of a
// piece.
constexpr size_t kMostSeeds = 1000000;
constexpr int kRoundsPerPruning = 2;
constexpr double kKeptByPruning = 0.75;
constexpr double kSlack = 1.1;
constexpr double kLeastExpected = 0.5;
// Letters of the alphabet that no piece of the vocabulary would have get scores this far apart.
constexpr double kScoreStep = 0.0001;
// A letter whose own piece is left out stays in the lattice, this much below the least score.
constexpr double kUnknownPenalty = 10.0;

constexpr int64_t kDefaultMaxLength = 16;
constexpr int64_t kMaxVocabSize = int64_t{1} << 30;
// The logarithm of the factor of a letter: between what a letter of a common and of a rare word
// adds to the logarithm of its word's probability.
constexpr double kLogFactor = 6.0;

// The derivative of log(gamma), by its recurrence and asymptotic series (Abramowitz and Stegun
// 6.3.5, 6.3.18); x > 0.
double digamma(double x) {
  double sum = 0;
  for (; x < 7; ++x) sum -= 1 / x;
  x -= 0.5;
  const double inverse = 1 / x, square = inverse * inverse;
  return sum + std::log(x) +
         square *
             (1.0 / 24 - square * (7.0 / 960 - square * (31.0 / 8064 - square * 127.0 / 30720)));
}

using Arcs = std::span<const UnigramLattices::Arc>;
constexpr uint32_t kDropped = UnigramLattices::kDropped;
constexpr size_t kShares = UnigramLattices::kShares;

class Trainer {
 public:
  Trainer(const PieceCounts& words, const UnigramTrainerOptions& options, Executor& executor)
      : options_(options),
        executor_(executor),
        corpus_(words, limit_alphabet(count_characters(words), options.alphabet_limit,
                                      options.character_coverage)) {
    const auto taken = static_cast<int64_t>(options_.special_tokens.size() + letters());
    if (taken > options_.vocab_size) {
      throw ValueError(concat("vocab_size is ", options_.vocab_size, "; special tokens and the ",
                              "characters of the text take ", taken, " (see alphabet_limit)"));
    }
    wanted_ = static_cast<size_t>(options_.vocab_size) - options_.special_tokens.size();
    const int64_t longest =
        options_.max_token_length == 0 ? kDefaultMaxLength : options_.max_token_length;
    const UnigramSeeds seeds =
        find_seeds(corpus_, kMostSeeds,
                   static_cast<uint32_t>(std::min<int64_t>(longest, LetterCorpus::kLongestWord)),
                   std::max<int64_t>(options_.min_frequency, 1), executor_);
    add_pieces(seeds);
    lattices_.emplace(corpus_, seeds);
  }

  UnigramVocabulary train(const ProgressFn& progress) {
    const auto limit = static_cast<size_t>(static_cast<double>(options_.vocab_size) * kSlack);
    const auto first = static_cast<int64_t>(pieces_.size());
    const auto report = [&] {
      const auto now = static_cast<int64_t>(pieces_.size());
      const int64_t total = std::max<int64_t>(first - static_cast<int64_t>(limit), 1);
      if (progress) progress({"prune", std::min(first - now, total), total});
    };
    report();
    for (;;) {
      for (int round = 0; round < kRoundsPerPruning; ++round) {
        executor_.check_cancelled();
        maximize(expected_counts());
      }
      report();
      if (pieces_.size() <= limit) break;
      prune(limit);
    }
    return vocabulary();
  }

 private:
  struct Piece {
    uint32_t begin = 0, length = 1;  // letters of the corpus
    uint32_t word = 0;               // where its letters were found
    double score = 0;                // logarithm of its probability
    bool letter_only = false;        // kept for its letter, not for its count
  };
  size_t letters() const { return corpus_.alphabet.size(); }

  // Pieces 0 to letters() - 1 are the letters and stay; the seeds follow.
  void add_pieces(const UnigramSeeds& seeds) {
    const std::vector<uint32_t> word_of = corpus_.word_of_letters();
    pieces_.resize(letters());
    for (uint32_t at = 0; at < corpus_.letters.size(); ++at) {
      Piece& piece = pieces_[corpus_.letters[at] - 1];
      piece.begin = at;
      piece.word = word_of[at];
    }
    for (size_t i = 0; i < letters(); ++i) {
      pieces_[i].score = static_cast<double>(corpus_.alphabet[i].count);
    }
    for (const auto& seed : seeds.pieces) {
      const uint32_t at = seeds.places[seed.place];
      pieces_.push_back(
          {at, seed.length, word_of[at], static_cast<double>(seed.count) * seed.length});
    }
    double sum = 0;
    for (const Piece& piece : pieces_) sum += piece.score;
    for (Piece& piece : pieces_) piece.score = std::log(piece.score) - std::log(sum);
  }

  // How often each piece occurs, on average over all ways to write the words by their
  // probabilities.
  std::vector<double> expected_counts() {
    std::vector<double> weights(pieces_.size());
    for (size_t i = 0; i < pieces_.size(); ++i) {
      weights[i] = std::exp(pieces_[i].score + kLogFactor * pieces_[i].length);
    }
    std::vector<std::vector<double>> counts(kShares, std::vector<double>(pieces_.size()));
    lattices_->for_each(executor_, [&](size_t k, size_t w, Arcs arcs) {
      constexpr size_t kSize = LetterCorpus::kLongestWord + 1;
      double before[kSize], after[kSize];  // sums over the ways up to a letter, and from it on
      const auto& word = corpus_.words[w];
      const size_t n = word.length;
      std::fill_n(before, n + 1, 0.0);
      std::fill_n(after, n + 1, 0.0);
      before[0] = 1;
      for (const auto& arc : arcs) before[arc.end] += before[arc.begin] * weights[arc.piece];
      const double scale = static_cast<double>(word.count) / before[n];
      if (!std::isfinite(scale)) return;  // too unlikely for a double: nothing to learn from it
      after[n] = scale;
      for (auto arc = arcs.rbegin(); arc != arcs.rend(); ++arc) {
        const double way = weights[arc->piece] * after[arc->end];
        after[arc->begin] += way;
        counts[k][arc->piece] += before[arc->begin] * way;
      }
    });
    for (size_t k = 1; k < kShares; ++k) {
      for (size_t i = 0; i < counts[0].size(); ++i) counts[0][i] += counts[k][i];
    }
    return std::move(counts[0]);
  }

  // Scores from counts, with a prior that favours few pieces; pieces hardly expected are left out.
  void maximize(const std::vector<double>& counts) {
    std::vector<uint32_t> new_id(pieces_.size(), kDropped);
    double sum = 0;
    uint32_t kept = 0;
    for (size_t i = 0; i < pieces_.size(); ++i) {
      const bool expected = counts[i] >= kLeastExpected;
      if (expected) sum += counts[i];
      pieces_[i].letter_only = !expected;
      if (expected || i < letters()) new_id[i] = kept++;
    }
    const double log_sum = digamma(sum);
    double least = 0;
    for (size_t i = 0; i < pieces_.size(); ++i) {
      if (pieces_[i].letter_only) continue;
      pieces_[i].score = digamma(counts[i]) - log_sum;
      least = std::min(least, pieces_[i].score);
    }
    for (size_t i = 0; i < letters(); ++i) {
      if (pieces_[i].letter_only) pieces_[i].score = least - kUnknownPenalty;
    }
    least_score_ = least;
    drop(new_id);
  }

  // The best way from `from` to `to` by arcs that lie between, `without` left out: its pieces last
  // to first, and its score; minus infinity where there is none.
  double best_way(Arcs arcs, size_t from, size_t to, uint32_t without,
                  std::vector<uint32_t>& way) const {
    constexpr size_t kSize = LetterCorpus::kLongestWord + 1;
    double best[kSize];
    const UnigramLattices::Arc* last[kSize];
    std::fill(best + from, best + to + 1, -std::numeric_limits<double>::infinity());
    best[from] = 0;
    for (const auto& arc : arcs) {
      if (arc.begin >= to) break;
      if (arc.begin < from || arc.end > to || arc.piece == without) continue;
      const double score = best[arc.begin] + pieces_[arc.piece].score;
      if (score > best[arc.end]) {
        best[arc.end] = score;
        last[arc.end] = &arc;
      }
    }
    way.clear();
    if (std::isinf(best[to])) return best[to];
    for (size_t at = to; at > from; at = last[at]->begin) way.push_back(last[at]->piece);
    return best[to];
  }

  // How often each piece stands in the best ways to write the words.
  std::vector<double> best_counts() {
    std::vector<std::vector<double>> counts(kShares, std::vector<double>(pieces_.size()));
    std::vector<std::vector<uint32_t>> ways(kShares);
    lattices_->for_each(executor_, [&](size_t k, size_t w, Arcs arcs) {
      const auto& word = corpus_.words[w];
      best_way(arcs, 0, word.length, kDropped, ways[k]);
      for (const uint32_t piece : ways[k]) counts[k][piece] += static_cast<double>(word.count);
    });
    for (size_t k = 1; k < kShares; ++k) {
      for (size_t i = 0; i < counts[0].size(); ++i) counts[0][i] += counts[k][i];
    }
    return std::move(counts[0]);
  }

  // Leaves out the pieces without which the text would lose the least likelihood, if each were
  // written in the second best way.
  void prune(size_t limit) {
    const std::vector<double> counts = best_counts();
    double sum = 0, all_words = 0;
    for (const double count : counts) sum += count;
    for (const auto& word : corpus_.words) all_words += static_cast<double>(word.count);
    const double log_sum = std::log(sum);
    constexpr double kKeep = std::numeric_limits<double>::infinity();
    constexpr double kLeave = -std::numeric_limits<double>::infinity();
    std::vector<double> losses(pieces_.size(), kLeave);
    constexpr size_t kTaskPieces = 4096;
    const size_t tasks = (pieces_.size() + kTaskPieces - 1) / kTaskPieces;
    executor_.parallel_for(static_cast<int64_t>(tasks), [&](int64_t task, int) {
      executor_.check_cancelled();
      std::vector<uint32_t> way;
      const size_t first = static_cast<size_t>(task) * kTaskPieces;
      for (size_t i = first; i < std::min(first + kTaskPieces, pieces_.size()); ++i) {
        const Piece& piece = pieces_[i];
        if (piece.length == 1) {
          losses[i] = kKeep;
          continue;
        }
        if (counts[i] == 0) continue;
        const size_t from = piece.begin - corpus_.words[piece.word].begin;
        const double second = best_way(lattices_->of(piece.word), from, from + piece.length,
                                       static_cast<uint32_t>(i), way);
        if (second > piece.score) continue;  // it is not the best way to write itself
        const double log_sum_without =
            std::log(sum + counts[i] * static_cast<double>(way.size() - 1));
        double without = 0;
        for (const uint32_t other : way) {
          without += std::log(counts[other] + counts[i]) - log_sum_without;
        }
        losses[i] = counts[i] / all_words * (std::log(counts[i]) - log_sum - without);
      }
    });
    std::vector<uint32_t> order(pieces_.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<uint32_t>(i);
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t a, uint32_t b) { return losses[a] > losses[b]; });
    const size_t size =
        std::max(limit, static_cast<size_t>(kKeptByPruning * static_cast<double>(pieces_.size())));
    std::vector<bool> keep(pieces_.size());
    for (size_t i = 0; i < order.size() && (i < size || losses[order[i]] == kKeep); ++i) {
      if (losses[order[i]] != kLeave) keep[order[i]] = true;
    }
    std::vector<uint32_t> new_id(pieces_.size(), kDropped);
    uint32_t kept = 0;
    for (size_t i = 0; i < pieces_.size(); ++i) {
      if (keep[i]) new_id[i] = kept++;
    }
    drop(new_id);
  }

  void drop(const std::vector<uint32_t>& new_id) {
    size_t kept = 0;
    for (size_t i = 0; i < pieces_.size(); ++i) {
      if (new_id[i] != kDropped) pieces_[kept++] = pieces_[i];
    }
    if (kept == pieces_.size()) return;
    pieces_.resize(kept);
    lattices_->rename(new_id, executor_);
  }

  // The letters and the pieces with the best scores.
  UnigramVocabulary vocabulary() const {
    struct Token {
      std::string text;
      double score;
    };
    const auto before = [](const Token& a, const Token& b) {
      return a.score != b.score ? a.score > b.score : a.text < b.text;
    };
    std::vector<Token> tokens, others;
    double more = 0;
    for (size_t i = 0; i < pieces_.size(); ++i) {
      const Piece& piece = pieces_[i];
      std::string text = corpus_.text(piece.begin, piece.length);
      if (i >= letters()) {
        others.push_back({std::move(text), piece.score});
      } else if (!piece.letter_only) {
        tokens.push_back({std::move(text), piece.score});
      } else {
        tokens.push_back({std::move(text), least_score_ + more});
        more += kScoreStep;
      }
    }
    std::sort(others.begin(), others.end(), before);
    std::unordered_set<std::string_view> special(options_.special_tokens.begin(),
                                                 options_.special_tokens.end());
    for (Token& token : others) {
      if (tokens.size() >= wanted_) break;
      if (!special.count(token.text)) tokens.push_back(std::move(token));
    }
    std::sort(tokens.begin(), tokens.end(), before);
    UnigramVocabulary result;
    result.tokens = options_.special_tokens;
    result.scores.assign(result.tokens.size(), 0);
    for (Token& token : tokens) {
      if (special.count(token.text)) continue;
      result.tokens.push_back(std::move(token.text));
      result.scores.push_back(token.score);
    }
    return result;
  }

  const UnigramTrainerOptions& options_;
  Executor& executor_;
  LetterCorpus corpus_;
  size_t wanted_ = 0;  // tokens beside the special ones
  std::vector<Piece> pieces_;
  double least_score_ = 0;
  std::optional<UnigramLattices> lattices_;
};

}  // namespace

void check(const UnigramTrainerOptions& options) {
  const auto special = static_cast<int64_t>(options.special_tokens.size());
  if (options.vocab_size < special + 1 || options.vocab_size > kMaxVocabSize) {
    throw ValueError(concat("vocab_size is ", options.vocab_size, "; it takes ", special + 1, " (",
                            special, " special tokens and a character) to ", kMaxVocabSize));
  }
  const auto not_negative = [](const char* name, int64_t value) {
    if (value < 0) {
      throw ValueError(concat(name, " is ", value, "; it takes an integer of at least 0"));
    }
  };
  not_negative("min_frequency", options.min_frequency);
  not_negative("max_token_length", options.max_token_length);
  not_negative("alphabet_limit", options.alphabet_limit);
  if (!(options.character_coverage > 0 && options.character_coverage <= 1)) {
    throw ValueError(concat("character_coverage is ", options.character_coverage,
                            "; it takes a share above 0, up to 1"));
  }
}

UnigramVocabulary train_unigram(const PieceCounts& words, const UnigramTrainerOptions& options,
                                Executor& executor, const ProgressFn& progress) {
  check(options);
  UnigramVocabulary vocabulary;
  executor.run([&] { vocabulary = Trainer(words, options, executor).train(progress); });
  return vocabulary;
}

}  // namespace msltx::text
