#include "msltx/base/file_content.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <new>

#include "msltx/base/error.h"

namespace msltx {
namespace {

constexpr size_t kBlock = size_t{1} << 20;  // bytes that a task reads

// Without waiting for the writer of a pipe.
class OpenFile {
 public:
  explicit OpenFile(const Path& path)
      : number_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
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
  const OpenFile file(path);
  struct stat info {};
  if (fstat(file.number(), &info) != 0)
    throw FileError(system_error_message("read", path.string()));
  // What the system makes up is a regular file of size 0.
  size_ = S_ISREG(info.st_mode) ? static_cast<size_t>(info.st_size) : 0;
  try {
    if (size_ > 0) {
      memory_ = Arena(static_cast<int64_t>(size_));
    } else {
      read_stream(path, file.number(), executor);
    }
  } catch (const MemoryLimitError&) {
    throw no_memory_for(path, static_cast<int64_t>(size_));
  } catch (const std::bad_alloc&) {
    throw no_memory_for(path, 0);
  }
  if (size_ > 0) read_blocks(path, file.number(), executor);
}

void FileContent::read_stream(const Path& path, int file, Executor& executor) {
  constexpr int kPatience = 100;  // milliseconds between looks at whether the call was ended
  for (char block[1 << 16];;) {
    executor.check_cancelled();
    pollfd ready{.fd = file, .events = POLLIN, .revents = 0};
    if (poll(&ready, 1, kPatience) == 0) continue;  // a pipe into which nobody has written yet
    const ssize_t got = read(file, block, sizeof block);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) throw FileError(system_error_message("read", path.string()));
    if (got == 0) return;
    streamed_.append(block, static_cast<size_t>(got));
  }
}

void FileContent::read_blocks(const Path& path, int file, Executor& executor) {
  std::atomic<size_t> end = size_;  // where the file ends, if others have cut it off
  executor.parallel_for(static_cast<int64_t>((size_ + kBlock - 1) / kBlock), [&](int64_t task,
                                                                                 int) {
    executor.check_cancelled();
    size_t at = static_cast<size_t>(task) * kBlock;
    const size_t stop = std::min(at + kBlock, size_);
    while (at < stop) {
      const ssize_t got = pread(file, memory_.data() + at, stop - at, static_cast<off_t>(at));
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
