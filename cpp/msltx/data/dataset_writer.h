// Writing a dataset: the place it goes to, its shards, and meta.json last.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "msltx/base/file.h"
#include "msltx/data/shard.h"
#include "msltx/text/tokenizer.h"

namespace msltx::data {

// The folder that `out` stands for: without a slash at its end, a link followed. Throws ValueError
// or FileError unless it is free, or holds what may be replaced: nothing at all, or, with
// `overwrite`, a dataset and nothing else.
Path check_place(const Path& out, bool overwrite);

// Removes what writing to `place` left beside it in processes that were killed: folders named as an
// AtomicFolder names them, of processes that are gone, with nothing in them but parts of a dataset.
void remove_abandoned(const Path& place);

// Throws ValueError for a share of documents or a size of shards out of range.
void check_share(double val_fraction, int64_t shard_tokens);

// A hash as a number in [0, 1): below val_fraction the document belongs to the validation split.
inline double share_of_hash(uint64_t hash) { return static_cast<double>(hash >> 11) * 0x1p-53; }

// The beginning of meta.json: format, version, and what follows from the tokenizer.
nlohmann::ordered_json meta_of_tokenizer(const text::Tokenizer& tokenizer);

// Shards of one split, one after the other: NAME-00000.bin, NAME-00001.bin ...
class SplitWriter {
 public:
  SplitWriter(Path folder, std::string name, int64_t vocab_size, int64_t shard_tokens)
      : folder_(std::move(folder)),
        name_(std::move(name)),
        vocab_size_(vocab_size),
        shard_tokens_(shard_tokens) {}

  // `bytes` of original text that the ids stand for.
  void add_document(std::span<const int32_t> ids, int64_t bytes);
  // Ends the last shard; gives what meta.json says of the split.
  nlohmann::ordered_json finish();

  int64_t tokens() const { return tokens_; }
  int64_t documents() const { return documents_; }

 private:
  void finish_shard();

  Path folder_;
  std::string name_;
  int64_t vocab_size_, shard_tokens_;
  std::optional<ShardWriter> shard_;
  std::vector<std::string> names_;
  int64_t tokens_ = 0, documents_ = 0, bytes_ = 0;
};

}  // namespace msltx::data
