#include "msltx/data/dataset_writer.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "msltx/base/error.h"
#include "msltx/data/dataset.h"
#include "msltx/text/piece_table.h"

namespace msltx::data {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

bool is_dataset(const Path& folder) {
  std::error_code error;
  if (!fs::is_regular_file(folder / kMetaName, error)) return false;
  const json meta = json::parse(read_file(folder / kMetaName), nullptr, false);
  return meta.is_object() && meta.contains("format") && meta["format"] == kFormat;
}

// A file of a dataset; also one that was being written ("train-00000.bin.tmp-123-4").
bool belongs_to_dataset(const Path& name) {
  std::string text = name.string();
  text.resize(std::min(text.size(), text.find(".tmp-")));
  const Path whole(text);
  const bool of_split = std::any_of(kSplitNames.begin(), kSplitNames.end(), [&](const char* split) {
    return text.starts_with(concat(split, "-"));
  });
  return text == kMetaName || text == kTokenizerName ||
         (of_split && (whole.extension() == ".bin" || whole.extension() == ".idx"));
}

// The first entry of a folder that is no part of a dataset; empty where all are.
Path stranger_in(const Path& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const Path name = entry.path().filename();
    if (!belongs_to_dataset(name) || entry.is_directory(error)) return name;
  }
  return {};
}

}  // namespace

Path check_place(const Path& out, bool overwrite) {
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
  const Path stranger = stranger_in(place);
  if (!stranger.empty()) {
    throw FileError(concat(place.string(), " cannot be replaced: it holds ", stranger.string(),
                           ", which is no part of a dataset"));
  }
  return place;
}

void remove_abandoned(const Path& place) {
  std::error_code error;
  std::vector<Path> abandoned;
  for (const auto& entry : fs::directory_iterator(parent_of(place), error)) {
    if (is_abandoned(entry.path(), place) && stranger_in(entry.path()).empty()) {
      abandoned.push_back(entry.path());
    }
  }
  for (const Path& folder : abandoned) fs::remove_all(folder, error);
}

void check_share(double val_fraction, int64_t shard_tokens) {
  if (!(val_fraction >= 0 && val_fraction < 1)) {
    throw ValueError(concat("val_fraction is ", val_fraction, "; it takes 0 to less than 1"));
  }
  if (shard_tokens < 1) {
    throw ValueError(concat("shard_tokens is ", shard_tokens, "; it takes at least 1"));
  }
}

nlohmann::ordered_json meta_of_tokenizer(const text::Tokenizer& tokenizer) {
  nlohmann::ordered_json eos;
  if (tokenizer.roles().eos) eos = *tokenizer.roles().eos;
  char hash[17];
  std::snprintf(hash, sizeof hash, "%016llx",
                static_cast<unsigned long long>(text::hash_bytes(tokenizer.to_json())));
  return {{"format", kFormat},
          {"version", kFormatVersion},
          {"vocab_size", tokenizer.vocab_size()},
          {"bytes_per_token", bytes_per_token(tokenizer.vocab_size())},
          {"eos_id", eos},
          {"tokenizer_hash", hash}};
}

void SplitWriter::add_document(std::span<const int32_t> ids, int64_t bytes) {
  if (shard_ && shard_->tokens() >= shard_tokens_) finish_shard();
  if (!shard_) {
    char number[32];
    std::snprintf(number, sizeof number, "-%05zu.bin", names_.size());
    names_.push_back(name_ + number);
    shard_.emplace(folder_ / names_.back(), vocab_size_);
  }
  shard_->add_document(ids, bytes);
  tokens_ += static_cast<int64_t>(ids.size());
  bytes_ += bytes;
  ++documents_;
}

nlohmann::ordered_json SplitWriter::finish() {
  if (shard_) finish_shard();
  return {{"tokens", tokens_}, {"documents", documents_}, {"bytes", bytes_}, {"shards", names_}};
}

void SplitWriter::finish_shard() {
  shard_->commit();
  shard_.reset();
}

}  // namespace msltx::data
