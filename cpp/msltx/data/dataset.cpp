#include "msltx/data/dataset.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "msltx/base/error.h"
#include "msltx/data/dataset_writer.h"
#include "msltx/text/byte_source.h"
#include "msltx/text/json.h"

namespace msltx::data {
namespace {

using nlohmann::json;

// meta.json with complaints that name the file and the field.
class Meta {
 public:
  Meta(const Path& file, const std::string& text)
      : name_(file.string()), root_(text::parse_json(text, name_)) {
    if (!root_.is_object() || !root_.contains("format") || root_["format"] != kFormat) {
      throw FileError(concat(name_, " is not the meta.json of a dataset of msltx"));
    }
    const int64_t version = integer(root_, "version", 1);
    if (version > kFormatVersion) {
      throw FileError(
          concat(name_, " has version ", version, "; this msltx reads up to ", kFormatVersion));
    }
  }

  const json& root() const { return root_; }

  int64_t integer(const json& object, const char* key, int64_t least) const {
    const auto found = object.find(key);
    // An unsigned number past int64 would read as negative.
    if (found == object.end() || !found->is_number_integer() || *found < least ||
        *found > INT64_MAX) {
      throw FileError(concat(name_, " has no ", key, " that is an integer of at least ", least));
    }
    return found->get<int64_t>();
  }

  const json& object(const json& parent, const char* key) const {
    const auto found = parent.find(key);
    if (found == parent.end() || !found->is_object()) {
      throw FileError(concat(name_, " has no ", key));
    }
    return *found;
  }

  // File names: inside the dataset's folder, nowhere else.
  std::vector<std::string> shard_names(const json& split, const char* split_name) const {
    std::vector<std::string> names;
    const auto found = split.find("shards");
    if (found == split.end() || !found->is_array()) {
      throw FileError(concat(name_, " has no list of shards for ", split_name));
    }
    for (const json& entry : *found) {
      const std::string name = entry.is_string() ? entry.get<std::string>() : "";
      if (name.empty() || name.find('/') != std::string::npos ||
          name.find('\0') != std::string::npos) {
        throw FileError(
            concat(name_, " names the shard ", entry.dump(), ", which is no file name"));
      }
      names.push_back(name);
    }
    return names;
  }

 private:
  std::string name_;
  json root_;
};

}  // namespace

TokenSplit::TokenSplit(std::string name, std::vector<Shard> shards, int64_t documents,
                       int64_t bytes)
    : name_(std::move(name)), shards_(std::move(shards)), documents_(documents), bytes_(bytes) {
  for (const Shard& shard : shards_) first_.push_back(first_.back() + shard.tokens());
}

void TokenSplit::read(int64_t first, std::span<int32_t> ids) const {
  const auto count = static_cast<int64_t>(ids.size());
  if (first < 0 || first > tokens() || count > tokens() - first) {
    throw ValueError(concat("tokens [", first, ", ", first + count, ") are outside the ", name_,
                            " split, which has ", tokens()));
  }
  auto shard =
      static_cast<size_t>(std::upper_bound(first_.begin(), first_.end(), first) - first_.begin()) -
      1;
  while (!ids.empty()) {
    const int64_t left = first_[shard + 1] - first;
    const auto n = static_cast<size_t>(std::min(left, static_cast<int64_t>(ids.size())));
    shards_[shard].read(first - first_[shard], ids.first(n));
    ids = ids.subspan(n);
    first += static_cast<int64_t>(n);
    ++shard;
  }
}

Dataset::Dataset(const Path& folder) : path_(folder) {
  const Path file = folder / kMetaName;
  std::error_code error;
  if (!std::filesystem::exists(file, error)) {
    if (!std::filesystem::exists(folder, error)) {
      throw FileError(concat("cannot open ", folder.string(), ": No such file or directory"));
    }
    throw FileError(concat(folder.string(), " is no dataset: it has no ", kMetaName,
                           ", which preparing writes last"));
  }
  meta_json_ = read_file(file);
  const Meta meta(file, meta_json_);
  vocab_size_ = meta.integer(meta.root(), "vocab_size", 1);
  if (meta.root().contains("eos_id") && !meta.root()["eos_id"].is_null()) {
    const int64_t id = meta.integer(meta.root(), "eos_id", 0);
    if (id >= vocab_size_) {
      throw FileError(
          concat(file.string(), " has eos_id ", id, "; the vocabulary has ", vocab_size_));
    }
    eos_id_ = static_cast<int32_t>(id);
  }
  const json& splits = meta.object(meta.root(), "splits");
  for (const char* name : kSplitNames) {
    const json& split = meta.object(splits, name);
    std::vector<Shard> shards;
    for (const std::string& shard : meta.shard_names(split, name)) {
      shards.emplace_back(folder / shard, vocab_size_);
    }
    TokenSplit made(name, std::move(shards), meta.integer(split, "documents", 0),
                    meta.integer(split, "bytes", 0));
    const int64_t tokens = meta.integer(split, "tokens", 0);
    if (made.tokens() != tokens) {
      throw FileError(concat(file.string(), " announces ", tokens, " ", name,
                             " tokens; its shards have ", made.tokens()));
    }
    (name == std::string_view("train") ? train_ : val_) = std::move(made);
  }
}

Dataset Dataset::foreign(const Path& path, const text::Tokenizer& tokenizer) {
  namespace fs = std::filesystem;
  Dataset dataset;
  dataset.path_ = path;
  dataset.vocab_size_ = tokenizer.vocab_size();
  dataset.eos_id_ = tokenizer.roles().eos;
  std::vector<Path> files;
  std::error_code error;
  if (fs::is_directory(path, error)) {
    for (const auto& entry : fs::directory_iterator(path, error)) {
      if (entry.path().extension() == ".bin") files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
  } else {
    files.push_back(path);
  }
  std::array<std::vector<Shard>, kSplitNames.size()> shards;
  std::array<int64_t, kSplitNames.size()> documents{};
  for (const Path& file : files) {
    const std::string name = file.filename().string();
    const bool val = name.find("val") != std::string::npos;
    if (!val && files.size() > 1 && name.find("train") == std::string::npos) continue;
    shards[val].push_back(Shard::foreign(file, dataset.vocab_size_, dataset.eos_id_));
    documents[val] += shards[val].back().index().documents();
  }
  if (shards[0].empty()) {
    throw FileError(concat(path.string(), " has no file of training tokens (*train*.bin)"));
  }
  for (size_t s = 0; s < kSplitNames.size(); ++s) {
    TokenSplit split(kSplitNames[s], std::move(shards[s]), documents[s], 0);
    (s == 0 ? dataset.train_ : dataset.val_) = std::move(split);
  }
  nlohmann::ordered_json meta = meta_of_tokenizer(tokenizer);
  meta["documents"] = "found";
  meta["sources"] = nlohmann::ordered_json::array();
  for (const Path& file : files) {
    meta["sources"].push_back({{"name", text::replace_invalid_utf8(file.filename().string())},
                               {"bytes", text::size_on_disk(file)}});
  }
  dataset.meta_json_ = meta.dump(2) + '\n';
  return dataset;
}

const TokenSplit& Dataset::split(std::string_view name) const {
  if (name == "train") return train_;
  if (name == "val") return val_;
  throw ValueError(concat("split is ", name, "; it takes train or val"));
}

void Dataset::verify() const {
  for (const TokenSplit* split : {&train_, &val_}) {
    for (const Shard& shard : split->shards()) shard.verify();
  }
}

}  // namespace msltx::data
