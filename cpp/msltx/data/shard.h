// Shards: token ids in a file, mapped into memory when read. A shard is NAME.bin, a header and the
// ids, with NAME.idx beside it, where its documents begin. docs/formats.md has every field.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "msltx/base/file.h"
#include "msltx/data/checksum.h"

namespace msltx::data {

// Two bytes an id where every id of the vocabulary fits, else four.
int bytes_per_token(int64_t vocab_size);

// The .idx of a shard's .bin.
Path index_path(const Path& bin);

class ShardWriter {
 public:
  ShardWriter(const Path& path, int64_t vocab_size);

  // Appends one document. Throws FileError when it cannot be written.
  void add_document(std::span<const int32_t> ids);
  int64_t tokens() const { return tokens_; }
  int64_t documents() const { return static_cast<int64_t>(offsets_.size()) - 1; }

  // Writes the header and the index; the shard is there from then on.
  void commit();

 private:
  AtomicFile file_;
  Path path_;
  int64_t vocab_size_;
  int bytes_per_token_;
  int64_t tokens_ = 0;
  int32_t max_id_ = 0;
  std::vector<uint64_t> offsets_{0};
  std::vector<std::byte> buffer_;
  Checksum checksum_;
};

class Shard {
 public:
  // Maps a shard and checks its header and its size. Throws FileError for a file that is truncated,
  // no shard, of a newer version, or of another vocabulary.
  Shard(const Path& path, int64_t vocab_size);

  int64_t tokens() const { return tokens_; }
  const Path& path() const { return file_.path(); }

  // ids[i] = token first + i, as int32. Throws FileError for an id outside the vocabulary.
  void read(int64_t first, std::span<int32_t> ids) const;

  // Where documents begin, and at the end the number of tokens. Throws FileError (see above).
  std::vector<uint64_t> document_offsets() const;

  // Reads everything; throws FileError when the ids are not those that were written.
  void verify() const;

 private:
  std::span<const std::byte> payload() const;

  MappedFile file_;
  int64_t vocab_size_ = 0;
  int64_t tokens_ = 0;
  int64_t documents_ = 0;
  int bytes_per_token_ = 2;
  uint64_t checksum_ = 0;
};

}  // namespace msltx::data
