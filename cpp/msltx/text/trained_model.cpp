#include "msltx/text/trained_model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_set>
#include <utility>

#include "msltx/base/error.h"
#include "msltx/text/alphabet.h"
#include "msltx/text/bpe_trainer.h"
#include "msltx/text/byte_tokens.h"
#include "msltx/text/char_bpe.h"
#include "msltx/text/unigram.h"
#include "msltx/text/unigram_trainer.h"
#include "msltx/text/word_level.h"
#include "msltx/text/wordpiece.h"

namespace msltx::text {
namespace {

using Tokens = std::vector<std::string>;

constexpr int64_t kBytes = 256;
constexpr int64_t kMaxVocabSize = int64_t{1} << 30;
// Scores are rounded to ten decimals: not every reader of JSON gives 17 digits back to the last
// bit, and the last bit decides between ways to write a run of spaces.
constexpr double kScoreDigits = 1e10;
constexpr double kUnigramCoverage = 0.9995;  // SentencePiece's default

// What takes the first ids: the special tokens, and with byte fallback a token for every byte.
Tokens first_tokens(const TrainOptions& options) {
  Tokens tokens = options.special_tokens;
  if (options.byte_fallback) {
    for (int byte = 0; byte < kBytes; ++byte) tokens.push_back(byte_token(byte));
  }
  return tokens;
}

BpeTrainerOptions bpe_options(const TrainOptions& options, TrainedModel model,
                              const TrainPipeline* pipeline = nullptr) {
  BpeTrainerOptions bpe{.vocab_size = options.vocab_size,
                        .min_frequency = options.min_frequency,
                        .special_tokens = first_tokens(options),
                        .max_token_length = options.max_token_length};
  if (model == TrainedModel::bytes) {
    bpe.vocab_size = kBytes + static_cast<int64_t>(bpe.special_tokens.size());
  }
  bpe.characters = model != TrainedModel::bpe && model != TrainedModel::bytes;
  bpe.alphabet_limit = options.alphabet_limit;
  bpe.character_coverage = options.character_coverage.value_or(1);
  if (pipeline) {
    bpe.continuing_prefix = pipeline->continuing_prefix;
    bpe.word_suffix = pipeline->word_suffix;
  }
  return bpe;
}

UnigramTrainerOptions unigram_options(const TrainOptions& options) {
  return {.vocab_size = options.vocab_size,
          .min_frequency = options.min_frequency,
          .special_tokens = first_tokens(options),
          .max_token_length = options.max_token_length ? options.max_token_length : 16,
          .alphabet_limit = options.alphabet_limit,
          .character_coverage = options.character_coverage.value_or(kUnigramCoverage)};
}

// The words by how often they occur, of equally frequent ones by their bytes.
Tokens frequent_words(const PieceCounts& pieces, const TrainOptions& options) {
  std::vector<std::pair<int64_t, std::string>> words;
  pieces.for_each([&](std::string_view word, int64_t count) {
    if (count >= options.min_frequency) words.emplace_back(-count, word);
  });
  std::sort(words.begin(), words.end());
  Tokens tokens = options.special_tokens;
  for (auto& [count, word] : words) {
    if (static_cast<int64_t>(tokens.size()) >= options.vocab_size) break;
    if (std::find(options.special_tokens.begin(), options.special_tokens.end(), word) ==
        options.special_tokens.end()) {
      tokens.push_back(std::move(word));
    }
  }
  return tokens;
}

// The characters by code point; where there is no room for all the most frequent ones.
Tokens characters(const PieceCounts& pieces, const TrainOptions& options) {
  Tokens tokens = first_tokens(options);
  const int64_t room = options.vocab_size - static_cast<int64_t>(tokens.size());
  const int64_t limit = options.alphabet_limit ? std::min(options.alphabet_limit, room) : room;
  if (limit == 0) return tokens;
  auto alphabet =
      limit_alphabet(count_characters(pieces), limit, options.character_coverage.value_or(1));
  std::erase_if(alphabet, [&](const auto& c) { return c.count < options.min_frequency; });
  std::sort(alphabet.begin(), alphabet.end(),
            [](const auto& a, const auto& b) { return a.code < b.code; });
  const std::unordered_set<std::string> taken(tokens.begin(), tokens.end());
  for (const CharacterCount& character : alphabet) {
    std::string token;
    append_utf8(token, character.code);
    if (!taken.contains(token)) tokens.push_back(token);
  }
  return tokens;
}

class Trainer {
 public:
  Trainer(const PieceCounts& pieces, const TrainOptions& options, const TrainPipeline& pipeline,
          Executor& executor, const ProgressFn& progress)
      : pieces_(pieces),
        options_(options),
        pipeline_(pipeline),
        executor_(executor),
        progress_(progress) {}

  TokenizerSpec train() {
    add_special_tokens();
    if (pipeline_.over_bytes) {
      train_over_bytes();
      return std::move(spec_);
    }
    train_over_characters();
    const auto written = [](const auto& json) { return json.is_null() ? "" : json.dump(); };
    spec_.normalizer = written(pipeline_.normalizer);
    spec_.pre_tokenizer = written(pipeline_.cut);
    spec_.decoder = written(pipeline_.decoder);
    return std::move(spec_);
  }

 private:
  // They have the first ids.
  void add_special_tokens() {
    for (size_t i = 0; i < options_.special_tokens.size(); ++i) {
      spec_.added.push_back({options_.special_tokens[i], static_cast<int32_t>(i)});
    }
    const TokenRoles roles = find_roles(spec_.added);
    if (roles.bos) spec_.prefix.push_back(*roles.bos);
    if (roles.eos) spec_.suffix.push_back(*roles.eos);
    unk_id_ = roles.unk;
    if (unk_id_) unk_token_ = options_.special_tokens[static_cast<size_t>(*unk_id_)];
  }

  BpeVocabulary train_merges() {
    const BpeTrainerOptions bpe = bpe_options(options_, pipeline_.model, &pipeline_);
    BpeVocabulary made;
    executor_.run(
        [&] { made = train_bpe(pieces_, bpe, progress_, [&] { executor_.check_cancelled(); }); });
    return made;
  }

  void train_over_bytes() {
    BpeVocabulary made = train_merges();
    spec_.tokens = std::move(made.tokens);
    spec_.merges = std::move(made.merges);
    spec_.unk_token = unk_token_;
    spec_.lowercase = options_.lowercase;
    if (pipeline_.pattern) {
      spec_.split = *pipeline_.pattern;
    } else {
      if (!pipeline_.normalizer.is_null()) spec_.normalizer = pipeline_.normalizer.dump();
      spec_.pre_tokenizer = pipeline_.pre_tokenizer().dump();
      spec_.decoder = pipeline_.decoder.dump();
    }
  }

  void train_over_characters() {
    switch (pipeline_.model) {
      case TrainedModel::wordpiece:
        return set(WordPiece(Vocabulary(train_merges().tokens),
                             {.unk_token = unk_id_ ? unk_token_ : WordPieceSpec().unk_token,
                              .continuing_prefix = pipeline_.continuing_prefix}));
      case TrainedModel::unigram: {
        UnigramVocabulary made =
            train_unigram(pieces_, unigram_options(options_), executor_, progress_);
        for (double& score : made.scores) score = std::round(score * kScoreDigits) / kScoreDigits;
        return set(Unigram({.tokens = std::move(made.tokens),
                            .scores = std::move(made.scores),
                            .unk_id = unk_id_,
                            .byte_fallback = options_.byte_fallback}));
      }
      case TrainedModel::word_level:
        return set(WordLevel(Vocabulary(frequent_words(pieces_, options_)), unk_token_));
      case TrainedModel::chars:
        return set_bpe({characters(pieces_, options_), {}});
      default:
        return set_bpe(train_merges());
    }
  }

  // Split before every space it is SentencePiece's BPE: any two tokens that make a third one are
  // merged, and unknown characters in a row are one token.
  void set_bpe(BpeVocabulary made) {
    Vocabulary vocabulary(std::move(made.tokens));
    const bool as_sentencepiece =
        pipeline_.cut.is_object() && pipeline_.cut.value("type", "") == "Metaspace";
    std::vector<CharBpe::Merge> merges;
    if (as_sentencepiece) {
      std::vector<double> scores(static_cast<size_t>(vocabulary.size()),
                                 -std::numeric_limits<double>::infinity());
      for (size_t id = first_tokens(options_).size(); id < scores.size(); ++id) {
        scores[id] = -static_cast<double>(id);
      }
      merges = CharBpe::merges_by_score(vocabulary, scores);
    } else {
      for (const auto& [left, right] : made.merges) {
        merges.push_back({left, right, static_cast<uint32_t>(merges.size())});
      }
    }
    set(CharBpe(std::move(vocabulary), std::move(merges),
                {.unk_token = unk_token_,
                 .continuing_prefix = pipeline_.continuing_prefix,
                 .word_suffix = pipeline_.word_suffix,
                 .fuse_unk = as_sentencepiece,
                 .byte_fallback = options_.byte_fallback}));
  }

  template <class M>
  void set(M model) {
    spec_.model = std::make_shared<const M>(std::move(model));
  }

  const PieceCounts& pieces_;
  const TrainOptions& options_;
  const TrainPipeline& pipeline_;
  Executor& executor_;
  const ProgressFn& progress_;
  TokenizerSpec spec_;
  std::optional<int32_t> unk_id_;
  std::string unk_token_;
};

}  // namespace

void check_sizes(const TrainOptions& options, TrainedModel model) {
  if (model == TrainedModel::unigram) {
    check(unigram_options(options));
  } else if (model == TrainedModel::word_level || model == TrainedModel::chars) {
    const auto least = static_cast<int64_t>(first_tokens(options).size());
    if (options.vocab_size < least || options.vocab_size > kMaxVocabSize) {
      throw ValueError(concat("vocab_size is ", options.vocab_size, "; it takes ", least,
                              " (special tokens", options.byte_fallback ? " and bytes" : "",
                              ") to ", kMaxVocabSize));
    }
    for (const auto& [name, value] : {std::pair("min_frequency", options.min_frequency),
                                      std::pair("alphabet_limit", options.alphabet_limit)}) {
      if (value < 0) {
        throw ValueError(concat(name, " is ", value, "; it takes an integer of at least 0"));
      }
    }
    const double coverage = options.character_coverage.value_or(1);
    if (!(coverage > 0 && coverage <= 1)) {
      throw ValueError(
          concat("character_coverage is ", coverage, "; it takes a share above 0, up to 1"));
    }
  } else {
    check(bpe_options(options, model));
  }
}

TokenizerSpec train_spec(const PieceCounts& pieces, const TrainOptions& options,
                         const TrainPipeline& pipeline, Executor& executor,
                         const ProgressFn& progress) {
  return Trainer(pieces, options, pipeline, executor, progress).train();
}

}  // namespace msltx::text
