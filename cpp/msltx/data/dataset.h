// Dataset: a prepared folder. Its two splits are long rows of token ids, mapped into memory.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "msltx/base/file.h"
#include "msltx/data/shard.h"
#include "msltx/text/tokenizer.h"

namespace msltx::data {

inline constexpr std::string_view kMetaName = "meta.json";
inline constexpr std::string_view kTokenizerName = "tokenizer.json";
inline constexpr std::string_view kFormat = "msltx-tokens";
inline constexpr int64_t kFormatVersion = 2;  // 1 named fewer cleaning steps
inline constexpr std::array<const char*, 2> kSplitNames{"train", "val"};

// The tokens of one split, in shards that follow one another.
class TokenSplit {
 public:
  TokenSplit() = default;
  TokenSplit(std::string name, std::vector<Shard> shards, int64_t documents, int64_t bytes);

  const std::string& name() const { return name_; }  // "train" or "val"
  int64_t tokens() const { return first_.back(); }
  int64_t documents() const { return documents_; }  // a long document in parts counts each part
  int64_t bytes() const { return bytes_; }  // of original text, for bits per byte; 0: not known
  const std::vector<Shard>& shards() const { return shards_; }

  // ids[i] = token first + i. Throws ValueError outside the split, FileError for an id outside the
  // vocabulary.
  void read(int64_t first, std::span<int32_t> ids) const;

 private:
  std::string name_;
  std::vector<Shard> shards_;
  std::vector<int64_t> first_{0};  // the first token of each shard, and the number of tokens
  int64_t documents_ = 0;
  int64_t bytes_ = 0;
};

class Dataset {
 public:
  // Throws FileError for a folder that is no whole dataset: meta.json missing (it is written last),
  // of a newer version, or not fitting the shards.
  explicit Dataset(const Path& folder);

  // Token files of llm.c or nanoGPT: a .bin, or a folder of them whose names say train or val.
  // meta_json() is then made up. Throws FileError where there is none of train.
  static Dataset foreign(const Path& path, const text::Tokenizer& tokenizer);

  const Path& path() const { return path_; }
  int64_t vocab_size() const { return vocab_size_; }
  std::optional<int32_t> eos_id() const { return eos_id_; }
  const TokenSplit& train() const { return train_; }
  const TokenSplit& val() const { return val_; }
  const TokenSplit& split(std::string_view name) const;  // throws ValueError for another name
  const std::string& meta_json() const { return meta_json_; }

  void verify() const;  // reads every shard; see Shard::verify

 private:
  Dataset() = default;

  Path path_;
  std::string meta_json_;
  int64_t vocab_size_ = 0;
  std::optional<int32_t> eos_id_;
  TokenSplit train_, val_;
};

}  // namespace msltx::data
