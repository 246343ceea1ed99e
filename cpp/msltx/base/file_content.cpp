#include "msltx/base/file_content.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "msltx/base/error.h"

namespace msltx {
namespace {

constexpr size_t kBlock = size_t{1} << 20;  // bytes that a task reads

class OpenFile {
 public:
  explicit OpenFile(const Path& path) : number_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (number_ < 0) throw FileError(system_error_message("open", path.string()));
  }
  ~OpenFile() { close(number_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int number() const { return number_; }

 private:
  int number_;
};

}  // namespace

FileContent::FileContent(const Path& path, Executor& executor) {
  struct stat info {};
  if (stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0) {
    read_blocks(path, executor);
  } else {
    streamed_ = read_file(path);
  }
}

void FileContent::read_blocks(const Path& path, Executor& executor) {
  const OpenFile file(path);
  struct stat info {};  // of what was opened: the name may stand for another file meanwhile
  if (fstat(file.number(), &info) != 0)
    throw FileError(system_error_message("read", path.string()));
  size_ = static_cast<size_t>(info.st_size);
  try {
    memory_ = Arena(static_cast<int64_t>(size_));
  } catch (const MemoryLimitError&) {
    throw MemoryLimitError(
        concat("cannot read ", path.string(), ": there is no memory for its ", size_, " bytes"));
  }
  std::atomic<size_t> end = size_;  // where the file ends, if others have cut it off
  executor.parallel_for(static_cast<int64_t>((size_ + kBlock - 1) / kBlock), [&](int64_t task,
                                                                                 int) {
    executor.check_cancelled();
    size_t at = static_cast<size_t>(task) * kBlock;
    const size_t stop = std::min(at + kBlock, size_);
    while (at < stop) {
      const ssize_t got =
          pread(file.number(), memory_.data() + at, stop - at, static_cast<off_t>(at));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw FileError(system_error_message("read", path.string()));
      if (got == 0) break;
      at += static_cast<size_t>(got);
    }
    for (size_t known = end; at < stop && at < known && !end.compare_exchange_weak(known, at);) {
    }
  });
  size_ = end;
}

}  // namespace msltx
