#include "msltx/text/tokenizer_trainer.h"

#include <algorithm>
#include <utility>

#include "msltx/base/error.h"
#include "msltx/text/bpe_trainer.h"

namespace msltx::text {
namespace {

constexpr int64_t kBytes = 256;

void check_special_tokens(const std::vector<std::string>& names) {
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i].empty()) throw ValueError(concat("special token ", i, " is empty"));
    const size_t bad = find_invalid_utf8(names[i]);
    if (bad != kValid) {
      throw ValueError(concat("special token ", i, " has ", describe_invalid_utf8(names[i], bad)));
    }
    if (std::find(names.begin(), names.begin() + static_cast<ptrdiff_t>(i), names[i]) !=
        names.begin() + static_cast<ptrdiff_t>(i)) {
      throw ValueError(concat("special token ", names[i], " is given twice"));
    }
  }
}

SplitPattern split_of(const TrainOptions& options) {
  const auto pattern = split_pattern_from_name(options.split);
  if (!pattern) {
    throw ValueError(
        concat("split is ", options.split, "; it takes gpt2, cl100k, o200k, llama3 or qwen2"));
  }
  return *pattern;
}

BpeTrainerOptions bpe_options(const TrainOptions& options) {
  BpeTrainerOptions bpe{.vocab_size = options.vocab_size,
                        .min_frequency = options.min_frequency,
                        .special_tokens = options.special_tokens,
                        .max_token_length = options.max_token_length};
  if (options.model == "bytes") {
    bpe.vocab_size = kBytes + static_cast<int64_t>(options.special_tokens.size());
  }
  return bpe;
}

int64_t size_of(std::span<const Path> files) {
  int64_t total = 0;
  for (const Path& file : files) {
    std::error_code unknown;
    const auto size = std::filesystem::file_size(file, unknown);
    if (!unknown) total += static_cast<int64_t>(size);
  }
  return total;
}

}  // namespace

void check(const TrainOptions& options) {
  if (options.model != "bpe" && options.model != "bytes") {
    throw ValueError(concat("model is ", options.model, "; it takes bpe or bytes"));
  }
  check_special_tokens(options.special_tokens);
  split_of(options);
  check(bpe_options(options));
  if (!(options.sample_share > 0 && options.sample_share <= 1)) {
    throw ValueError(concat("the sample is a share of ", options.sample_share,
                            "; it takes a share above 0, up to 1, or a number of bytes"));
  }
  if (options.sample_bytes < 0) {
    throw ValueError(concat("the sample has ", options.sample_bytes, " bytes; it takes 1 or more"));
  }
}

Cleaning training_cleaning(const TrainOptions& options) {
  Cleaning cleaning = options.cleaning;
  cleaning.lowercase |= options.lowercase;
  return cleaning;
}

TokenizerTrainer::TokenizerTrainer(TrainOptions options, Executor& executor)
    : options_(std::move(options)), executor_(executor) {
  check(options_);
}

WordCounter& TokenizerTrainer::counter(double share) {
  if (!counter_) {
    counter_.emplace(training_cleaning(options_), executor_, split_of(options_),
                     TextSample{share, options_.sample_seed});
  }
  return *counter_;
}

void TokenizerTrainer::add_files(std::span<const Path> files, const ProgressFn& progress) {
  const int64_t total = size_of(files);
  double share = options_.sample_share;
  if (options_.sample_bytes > 0) {
    if (total == 0) {
      throw ValueError(concat("the sample has ", options_.sample_bytes,
                              " bytes of files whose size is not known; give a share of them"));
    }
    share = std::min(1.0, static_cast<double>(options_.sample_bytes) / static_cast<double>(total));
  }
  int64_t done = 0;
  for (const Path& file : files) {
    int64_t in_file = 0;
    counter(share).add_file(file, options_.invalid_utf8, [&](const Progress& p) {
      in_file = p.done;
      if (progress) progress({p.stage, done + in_file, total});
    });
    done += in_file;
  }
}

void TokenizerTrainer::add_texts(std::span<const std::string_view> texts) {
  if (options_.sample_bytes > 0) {
    throw ValueError(concat("the sample has ", options_.sample_bytes,
                            " bytes of texts whose size is not known; give a share of them"));
  }
  counter(options_.sample_share).add_texts(texts);
}

Tokenizer TokenizerTrainer::finish(const ProgressFn& progress) {
  const PieceCounts words = counter_ ? counter_->take() : PieceCounts();
  if (words.size() == 0) throw ValueError("there is no text to train a tokenizer on");
  const BpeTrainerOptions bpe = bpe_options(options_);
  BpeVocabulary vocabulary;
  executor_.run(
      [&] { vocabulary = train_bpe(words, bpe, progress, [&] { executor_.check_cancelled(); }); });
  TokenizerSpec spec;
  spec.tokens = std::move(vocabulary.tokens);
  spec.merges = std::move(vocabulary.merges);
  spec.lowercase = options_.lowercase;
  spec.split = split_of(options_);
  for (const std::string& name : options_.special_tokens) {
    const auto at = std::find(spec.tokens.begin(), spec.tokens.end(), name);
    spec.added.push_back({name, static_cast<int32_t>(at - spec.tokens.begin()), true, false});
  }
  const TokenRoles roles = find_roles(spec.added);
  if (roles.bos) spec.prefix.push_back(*roles.bos);
  if (roles.eos) spec.suffix.push_back(*roles.eos);
  if (roles.unk) spec.unk_token = spec.tokens[static_cast<size_t>(*roles.unk)];
  return Tokenizer(std::move(spec));
}

Tokenizer Tokenizer::train(std::span<const Path> files, const TrainOptions& options,
                           Executor& executor, const ProgressFn& progress) {
  TokenizerTrainer trainer(options, executor);
  trainer.add_files(files, progress);
  return trainer.finish(progress);
}

}  // namespace msltx::text
