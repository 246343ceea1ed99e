// ByteSource: the bytes of a file or of standard input, decompressed on the way where gzip or zstd
// made them. Which it is, the first bytes tell, whatever the name: no UTF-8 text begins with them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "msltx/base/file.h"

namespace msltx::text {

// What stands for standard input among file names; a file of that name is "./-".
inline constexpr const char* kStandardInput = "-";

class ByteSource {
 public:
  // Throws FileError when the file cannot be opened or read.
  explicit ByteSource(const Path& path);
  ~ByteSource();
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  // Fills [to, to + most) as far as there are bytes; how many there were, 0 at the end only. Throws
  // FileError when reading fails, and for compressed bytes that are damaged or cut off.
  size_t read(char* to, size_t most);

  const std::string& name() const { return name_; }  // for messages
  bool compressed() const { return decoder_ != nullptr; }
  // Bytes taken from the file itself, as it is on the disk, and in all (0 where it has no size).
  int64_t bytes_read() const { return taken_ - static_cast<int64_t>(waiting()); }
  int64_t bytes_total() const { return total_; }

 private:
  class Decoder;
  class Gzip;
  class Zstd;

  size_t waiting() const { return input_.size() - at_; }
  bool refill();
  size_t take(char* to, size_t most);

  std::string name_;
  int fd_ = -1;
  bool at_end_ = false;
  std::vector<char> input_;  // read from the file
  size_t at_ = 0;            // of input_, what comes next
  int64_t taken_ = 0, total_ = 0;
  std::unique_ptr<Decoder> decoder_;
};

// The size of a file on the disk, 0 where it has none (a pipe, standard input).
int64_t size_on_disk(const Path& path);

}  // namespace msltx::text
