// TextBlocks: a text file as a sequence of blocks, in constant memory. Blocks end after a line feed
// where they can, and their text is valid UTF-8.
#pragma once

#include <cstdint>
#include <string>

#include "msltx/base/file.h"
#include "msltx/text/utf8.h"

namespace msltx::text {

class TextBlocks {
 public:
  // Long enough that cutting costs nothing, short enough that a few per thread stay in cache.
  static constexpr int64_t kBlockBytes = 1 << 20;

  // Throws FileError when the file cannot be opened. A byte order mark at its beginning is left
  // out.
  TextBlocks(Path path, InvalidUtf8 invalid, int64_t block_bytes = kBlockBytes);
  ~TextBlocks();
  TextBlocks(const TextBlocks&) = delete;
  TextBlocks& operator=(const TextBlocks&) = delete;

  // Replaces `block` with the next one; false at the end. A line longer than a block is cut before
  // a space that follows something else, and where there is none, between two characters. Throws
  // FileError when reading fails and, under InvalidUtf8::refuse, at bytes that are not UTF-8.
  bool next(std::string& block);

  const Path& path() const { return path_; }
  // Bytes of the file handed out so far, and in all (0 when the file has no size, as a pipe).
  int64_t bytes_read() const { return offset_; }
  int64_t bytes_total() const { return total_; }

 private:
  bool fill();
  size_t cut() const;
  void make_valid(std::string& block) const;

  Path path_;
  InvalidUtf8 invalid_;
  size_t block_bytes_;
  int fd_ = -1;
  bool at_end_ = false;
  std::string pending_;  // read, not yet handed out
  int64_t offset_ = 0;   // of pending_ in the file
  int64_t total_ = 0;
};

}  // namespace msltx::text
