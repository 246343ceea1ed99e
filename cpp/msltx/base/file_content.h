// FileContent: what a file holds, read into memory by all threads. Unlike a mapping it stays what
// it is when others change the file meanwhile.
#pragma once

#include <string>
#include <string_view>

#include "msltx/base/arena.h"
#include "msltx/base/executor.h"
#include "msltx/base/file.h"

namespace msltx {

class FileContent {
 public:
  // Throws FileError, and MemoryLimitError where the system gives no memory for it.
  FileContent(const Path& path, Executor& executor);

  std::string_view text() const {
    return streamed_.empty()
               ? std::string_view(reinterpret_cast<const char*>(memory_.data()), size_)
               : streamed_;
  }

 private:
  void read_stream(const Path& path, int file, Executor& executor);
  void read_blocks(const Path& path, int file, Executor& executor);

  Arena memory_;
  size_t size_ = 0;
  std::string streamed_;  // of what tells no size: a pipe, a file that the system makes up
};

}  // namespace msltx
