#include "msltx/text/tokenizer_trainer.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "msltx/base/error.h"
#include "msltx/text/tokenizer_json.h"
#include "msltx/text/trained_model.h"

namespace msltx::text {
namespace {

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
  const TrainPipeline pipeline = make_train_pipeline(options);
  check_special_tokens(options.special_tokens);
  check_sizes(options, pipeline.model);
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
  pipeline_ = make_train_pipeline(options_);
  cutter_ = std::make_unique<const PieceCutter>(pipeline_);
}

WordCounter& TokenizerTrainer::counter(double share) {
  if (!counter_) {
    share_ = share;
    WordCounter::Split split = SpaceSplit();
    if (pipeline_.pattern) {
      split = *pipeline_.pattern;
    } else if (!pipeline_.by_word) {
      split = [cutter = cutter_.get()](std::string_view line, PieceCounts& counts) {
        cutter->count(line, 1, counts);
      };
    }
    counter_.emplace(training_cleaning(options_), executor_, std::move(split),
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

// What a tokenizer.json says of its training.
nlohmann::json TokenizerTrainer::record() const {
  nlohmann::json out{{"model", options_.model},
                     {"vocab_size", options_.vocab_size},
                     {"min_frequency", options_.min_frequency}};
  nlohmann::json cleaning = nlohmann::json::array();
  for (const CleaningStep& step : steps_of(options_.cleaning)) {
    cleaning.push_back(step.name == "normalize_unicode"
                           ? std::string(name_of(options_.cleaning.form))
                           : std::string(step.name));
  }
  if (!cleaning.empty()) out["cleaning"] = std::move(cleaning);
  if (share_ < 1) {
    char share[32];
    std::snprintf(share, sizeof share, "%.4g", share_);
    out["sample"] = {{"share", std::stod(share)}, {"seed", options_.sample_seed}};
  }
  return out;
}

// Where words were counted with the spaces before them: each distinct one is cut once.
PieceCounts TokenizerTrainer::pieces_of(const PieceCounts& words) const {
  constexpr int64_t kWordsPerCheck = 4096;
  PieceCounts pieces;
  executor_.run([&] {
    int64_t done = 0;
    words.for_each([&](std::string_view word, int64_t count) {
      if (++done % kWordsPerCheck == 0) executor_.check_cancelled();
      cutter_->count(word, count, pieces);
    });
  });
  return pieces;
}

Tokenizer TokenizerTrainer::finish(const ProgressFn& progress) {
  PieceCounts pieces = counter_ ? counter_->take() : PieceCounts();
  if (pipeline_.by_word) pieces = pieces_of(pieces);
  if (pieces.size() == 0) throw ValueError("there is no text to train a tokenizer on");
  TokenizerSpec spec = train_spec(pieces, options_, pipeline_, executor_, progress);
  spec.training = record().dump();
  if (!pipeline_.over_bytes || pipeline_.pattern) return Tokenizer(std::move(spec));
  // Over bytes with another pre-tokenizer: the general pipeline, as from a file.
  return Tokenizer::from_json(
      write_tokenizer_json(spec, [&](int32_t id) { return spec.tokens[static_cast<size_t>(id)]; }));
}

Tokenizer Tokenizer::train(std::span<const Path> files, const TrainOptions& options,
                           Executor& executor, const ProgressFn& progress) {
  TokenizerTrainer trainer(options, executor);
  trainer.add_files(files, progress);
  return trainer.finish(progress);
}

}  // namespace msltx::text
