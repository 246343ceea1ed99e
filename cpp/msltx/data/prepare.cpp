#include "msltx/data/prepare.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "msltx/base/error.h"
#include "msltx/data/dataset.h"
#include "msltx/data/shard.h"
#include "msltx/text/piece_table.h"

namespace msltx::data {
namespace {

using json = nlohmann::ordered_json;

constexpr size_t kTaskBytes = 1 << 17;  // of text per task: some milliseconds
constexpr size_t kTasksPerWorker = 8;   // per batch of documents
constexpr std::array<const char*, 2> kSplitNames{"train", "val"};

// Shards of one split, one after the other.
class SplitWriter {
 public:
  SplitWriter(Path folder, std::string name, int64_t vocab_size, int64_t shard_tokens)
      : folder_(std::move(folder)),
        name_(std::move(name)),
        vocab_size_(vocab_size),
        shard_tokens_(shard_tokens) {}

  void add_document(std::span<const int32_t> ids, int64_t bytes) {
    if (shard_ && shard_->tokens() >= shard_tokens_) finish_shard();
    if (!shard_) {
      char number[16];
      std::snprintf(number, sizeof number, "-%05zu.bin", names_.size());
      names_.push_back(name_ + number);
      shard_.emplace(folder_ / names_.back(), vocab_size_);
    }
    shard_->add_document(ids);
    tokens_ += static_cast<int64_t>(ids.size());
    bytes_ += bytes;
    ++documents_;
  }

  json finish() {
    if (shard_) finish_shard();
    return {{"tokens", tokens_}, {"documents", documents_}, {"bytes", bytes_}, {"shards", names_}};
  }
  int64_t tokens() const { return tokens_; }
  int64_t documents() const { return documents_; }

 private:
  void finish_shard() {
    shard_->commit();
    shard_.reset();
  }
  Path folder_;
  std::string name_;
  int64_t vocab_size_, shard_tokens_;
  std::optional<ShardWriter> shard_;
  std::vector<std::string> names_;
  int64_t tokens_ = 0, documents_ = 0, bytes_ = 0;
};

// What a task makes of its documents.
struct Encoded {
  struct Place {
    bool val;
    size_t ids;     // how many
    int64_t bytes;  // of original text
  };
  std::vector<int32_t> ids;
  std::vector<Place> documents;
};

class Preparation {
 public:
  Preparation(const std::vector<Path>& files, const text::Tokenizer& tokenizer,
              const PrepareOptions& options, Executor& executor, const text::ProgressFn& progress)
      : files_(files),
        tokenizer_(tokenizer),
        options_(options),
        executor_(executor),
        progress_(progress) {}

  void write(const Path& folder) {
    SplitWriter train(folder, kSplitNames[0], tokenizer_.vocab_size(), options_.shard_tokens);
    SplitWriter val(folder, kSplitNames[1], tokenizer_.vocab_size(), options_.shard_tokens);
    DocumentReader reader(files_, options_.documents, options_.invalid_utf8);
    std::vector<std::vector<Document>> current, ahead;
    read_batch(reader, ahead);
    while (!ahead.empty()) {
      std::swap(current, ahead);
      std::vector<Encoded> encoded(current.size());
      // Task 0 reads the next documents while the others encode these.
      executor_.parallel_for(static_cast<int64_t>(current.size()) + 1, [&](int64_t task, int) {
        executor_.check_cancelled();
        if (task == 0) return read_batch(reader, ahead);
        const auto k = static_cast<size_t>(task) - 1;
        for (const Document& document : current[k]) encode(document, encoded[k]);
      });
      for (const Encoded& part : encoded) append(part, train, val);
      if (progress_) progress_({"encode", reader.bytes_read(), reader.bytes_total()});
      executor_.check_cancelled();
    }
    if (train.tokens() == 0) {
      throw ValueError(val.tokens() == 0
                           ? std::string("there is no text to prepare")
                           : concat("all ", val.documents(),
                                    " documents fell into the validation split; val_fraction is ",
                                    options_.val_fraction));
    }
    tokenizer_.save(folder / kTokenizerName);
    write_meta(folder, train, val);
  }

 private:
  void read_batch(DocumentReader& reader, std::vector<std::vector<Document>>& tasks) const {
    tasks.clear();
    const size_t most = kTasksPerWorker * static_cast<size_t>(executor_.threads());
    size_t bytes = kTaskBytes;
    for (Document document; tasks.size() < most || bytes < kTaskBytes;) {
      if (!reader.next(document)) break;
      if (bytes >= kTaskBytes) {
        tasks.emplace_back();
        bytes = 0;
      }
      bytes += document.text.size();
      tasks.back().push_back(std::move(document));
    }
  }

  void encode(const Document& document, Encoded& out) const {
    const size_t before = out.ids.size();
    if (options_.cleaning.any()) {
      tokenizer_.encode(text::clean(document.text, options_.cleaning), out.ids);
    } else {
      tokenizer_.encode(document.text, out.ids);
    }
    if (document.ends && tokenizer_.roles().eos) out.ids.push_back(*tokenizer_.roles().eos);
    out.documents.push_back({.val = belongs_to_val(document.text, options_.val_fraction),
                             .ids = out.ids.size() - before,
                             .bytes = static_cast<int64_t>(document.text.size())});
  }

  static void append(const Encoded& part, SplitWriter& train, SplitWriter& val) {
    std::span<const int32_t> ids(part.ids);
    for (const Encoded::Place& document : part.documents) {
      (document.val ? val : train).add_document(ids.first(document.ids), document.bytes);
      ids = ids.subspan(document.ids);
    }
  }

  void write_meta(const Path& folder, SplitWriter& train, SplitWriter& val) const {
    json sources = json::array();
    for (const Path& file : files_) {
      std::error_code unknown;
      const auto size = std::filesystem::file_size(file, unknown);
      sources.push_back({{"name", text::replace_invalid_utf8(file.filename().string())},
                         {"bytes", unknown ? 0 : size}});
    }
    json eos;
    if (tokenizer_.roles().eos) eos = *tokenizer_.roles().eos;
    char hash[17];
    std::snprintf(hash, sizeof hash, "%016llx",
                  static_cast<unsigned long long>(text::hash_bytes(tokenizer_.to_json())));
    const json meta{{"format", kFormat},
                    {"version", kFormatVersion},
                    {"vocab_size", tokenizer_.vocab_size()},
                    {"bytes_per_token", bytes_per_token(tokenizer_.vocab_size())},
                    {"eos_id", eos},
                    {"tokenizer_hash", hash},
                    {"documents", name_of(options_.documents)},
                    {"normalize_whitespace", options_.cleaning.whitespace},
                    {"lowercase", options_.cleaning.lowercase},
                    {"val_fraction", options_.val_fraction},
                    {"sources", sources},
                    {"splits", {{kSplitNames[0], train.finish()}, {kSplitNames[1], val.finish()}}}};
    write_file(folder / kMetaName, meta.dump(2) + '\n');
  }

  const std::vector<Path>& files_;
  const text::Tokenizer& tokenizer_;
  const PrepareOptions& options_;
  Executor& executor_;
  const text::ProgressFn& progress_;
};

void check(const PrepareOptions& options) {
  if (!(options.val_fraction >= 0 && options.val_fraction < 1)) {
    throw ValueError(
        concat("val_fraction is ", options.val_fraction, "; it takes 0 to less than 1"));
  }
  if (options.shard_tokens < 1) {
    throw ValueError(concat("shard_tokens is ", options.shard_tokens, "; it takes at least 1"));
  }
}

bool is_dataset(const Path& folder) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(folder / kMetaName, error)) return false;
  const json meta = json::parse(read_file(folder / kMetaName), nullptr, false);
  return meta.is_object() && meta.contains("format") && meta["format"] == kFormat;
}

bool belongs_to_dataset(const Path& name) {
  const std::string text = name.string();
  const bool of_split = std::any_of(kSplitNames.begin(), kSplitNames.end(), [&](const char* split) {
    return text.starts_with(concat(split, "-"));
  });
  return text == kMetaName || text == kTokenizerName ||
         (of_split && (name.extension() == ".bin" || name.extension() == ".idx"));
}

// The folder that `out` stands for: without a slash at its end, a link followed. Throws unless it
// is free, or holds what may be replaced: nothing at all, or a dataset and nothing else.
Path check_place(const Path& out, bool overwrite) {
  namespace fs = std::filesystem;
  Path place = out.has_filename() ? out : out.parent_path();  // "data/x/" is "data/x"
  if (!place.has_filename() || place.filename() == "." || place.filename() == "..") {
    throw ValueError(concat("out is \"", out.string(), "\"; it takes the name of a folder"));
  }
  std::error_code error;
  if (fs::is_symlink(place, error)) place = fs::weakly_canonical(place, error);
  if (!fs::exists(place, error)) return place;
  if (fs::is_directory(place, error) && fs::is_empty(place, error)) return place;
  if (!is_dataset(place)) {
    throw FileError(concat(place.string(), " is in the way: it is no dataset"));
  }
  if (!overwrite) {
    throw FileError(concat(place.string(), " exists already; overwrite replaces it"));
  }
  for (const auto& entry : fs::directory_iterator(place, error)) {
    const Path name = entry.path().filename();
    if (!belongs_to_dataset(name)) {
      throw FileError(concat(place.string(), " cannot be replaced: it holds ", name.string(),
                             ", which is no part of a dataset"));
    }
  }
  return place;
}

}  // namespace

bool belongs_to_val(std::string_view text, double val_fraction) {
  // 53 bits of the hash as a number in [0, 1).
  return static_cast<double>(text::hash_bytes(text) >> 11) * 0x1p-53 < val_fraction;
}

void check_prepare(const Path& out, const PrepareOptions& options) {
  check(options);
  check_place(out, options.overwrite);
}

void prepare(const std::vector<Path>& files, const text::Tokenizer& tokenizer, const Path& out,
             const PrepareOptions& options, Executor& executor, const text::ProgressFn& progress) {
  check_prepare(out, options);
  if (files.empty()) throw ValueError("there are no files to prepare");
  AtomicFolder folder(check_place(out, options.overwrite), Existing::replace);
  executor.run(
      [&] { Preparation(files, tokenizer, options, executor, progress).write(folder.path()); });
  check_place(out, options.overwrite);  // much may have happened there meanwhile
  folder.commit();
}

}  // namespace msltx::data
