// TextBlocks: a text file as a sequence of blocks, in constant memory. Blocks end after a line feed
// where they can, and their text is valid UTF-8 unless that is left to the caller.
#pragma once

#include <cstdint>
#include <string>

#include "msltx/base/file.h"
#include "msltx/text/byte_source.h"
#include "msltx/text/utf8.h"

namespace msltx::text {

class TextBlocks {
 public:
  // Long enough that cutting costs nothing, short enough that a few per thread stay in cache.
  static constexpr int64_t kBlockBytes = 1 << 20;

  // The file may be compressed, or standard input (see ByteSource). Throws FileError when it cannot
  // be opened. A byte order mark at its beginning is left out.
  TextBlocks(const Path& path, InvalidUtf8 invalid, int64_t block_bytes = kBlockBytes);

  // Replaces `block` with the next one; false at the end. A line longer than a block is cut before
  // a space that follows something else, and where there is none, between two characters. Throws
  // FileError when reading fails and, under InvalidUtf8::refuse, at bytes that are not UTF-8.
  bool next(std::string& block);

  const std::string& name() const { return source_.name(); }
  // Bytes of the file handed out so far, and in all (0 when the file has no size, as a pipe). Of a
  // compressed file, bytes as they are on the disk, read ahead included.
  int64_t bytes_read() const { return source_.compressed() ? source_.bytes_read() : offset_; }
  int64_t bytes_total() const { return source_.bytes_total(); }
  const InvalidCounts& counts() const { return counts_; }

 private:
  bool fill();
  size_t cut() const;
  void make_valid(std::string& block);

  ByteSource source_;
  InvalidUtf8 invalid_;
  size_t block_bytes_;
  bool at_end_ = false;
  std::string pending_;  // read, not yet handed out
  int64_t offset_ = 0;   // of pending_ in the text
  InvalidCounts counts_;
};

}  // namespace msltx::text
