// Shards: token ids in a file, mapped into memory when read. A shard is NAME.bin, a header and the
// ids, with NAME.idx beside it, where its documents begin. docs/formats.md has every field. The
// shards of llm.c and nanoGPT are read too.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
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

  // Appends one document, which stands for `bytes` of text. Throws FileError when it cannot be
  // written.
  void add_document(std::span<const int32_t> ids, int64_t bytes = 0);
  int64_t tokens() const { return tokens_; }
  int64_t documents() const { return documents_; }

  // Writes the headers; the shard is there from then on.
  void commit();

 private:
  void write_place();

  AtomicFile file_, index_;
  int64_t vocab_size_;
  int bytes_per_token_;
  int64_t tokens_ = 0, documents_ = 0, bytes_ = 0;
  int32_t max_id_ = 0;
  std::vector<std::byte> buffer_;
  Checksum checksum_;
};

// Where the documents of a shard begin, mapped from its .idx or found by looking for the token that
// stands between them.
class DocumentIndex {
 public:
  int64_t documents() const { return documents_; }
  // Tokens before document i; i == documents(): all of them.
  int64_t begin(int64_t i) const { return number(i * stride_); }
  // Bytes of text before document i, 0 where the index has none (version 1, other projects).
  int64_t bytes_before(int64_t i) const { return stride_ == 2 ? number(2 * i + 1) : 0; }
  bool has_bytes() const { return stride_ == 2; }

 private:
  friend class Shard;
  int64_t number(int64_t i) const {
    if (!found_.empty()) return found_[static_cast<size_t>(i)];
    int64_t value = 0;
    std::memcpy(&value, file_.bytes().data() + header_ + i * 8, sizeof value);
    return value;
  }

  MappedFile file_;
  std::vector<int64_t> found_;  // instead of the file
  int64_t header_ = 0;          // bytes
  int64_t documents_ = 0;
  int64_t stride_ = 1;  // numbers per document
};

class Shard {
 public:
  // Maps a shard and checks its header and its size. Throws FileError for a file that is truncated,
  // no shard, of a newer version, or of another vocabulary.
  Shard(const Path& path, int64_t vocab_size);

  // A shard of llm.c (its header tells) or of nanoGPT (nothing but ids: uint16 up to 65,536 of
  // them, else uint32). Documents are told apart by `eos_id`; without one the shard is one
  // document.
  static Shard foreign(const Path& path, int64_t vocab_size, std::optional<int32_t> eos_id);

  int64_t tokens() const { return tokens_; }
  const Path& path() const { return file_.path(); }

  // ids[i] = token first + i, as int32. Throws FileError for an id outside the vocabulary.
  void read(int64_t first, std::span<int32_t> ids) const;

  // Throws FileError where the index does not fit the shard.
  DocumentIndex index() const;

  // Reads everything; throws FileError when the ids are not those that were written.
  void verify() const;

 private:
  Shard() = default;
  std::span<const std::byte> payload() const { return file_.bytes().subspan(header_); }
  DocumentIndex found_index() const;

  MappedFile file_;
  size_t header_ = 0;  // bytes
  int64_t vocab_size_ = 0;
  int64_t tokens_ = 0;
  int64_t documents_ = 0;
  int bytes_per_token_ = 2;
  std::optional<uint64_t> checksum_;
  bool foreign_ = false;
  std::optional<int32_t> eos_id_;
};

}  // namespace msltx::data
