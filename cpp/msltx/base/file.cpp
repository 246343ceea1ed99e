#include "msltx/base/file.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <utility>

#include "msltx/base/error.h"

namespace msltx {
namespace {

namespace fs = std::filesystem;

// Another one each time: threads may write the same path.
Path temporary_name(const Path& path) {
  static std::atomic<uint64_t> count{0};
  Path name = path;
  name += concat(".tmp-", getpid(), "-", ++count);
  return name;
}

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using OpenFile = std::unique_ptr<std::FILE, CloseFile>;

}  // namespace

void flush_path(const Path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw FileError(system_error_message("open", path.string()));
  const int rc = fsync(fd);
  close(fd);
  if (rc != 0) throw FileError(system_error_message("flush", path.string()));
}

Path parent_of(const Path& path) {
  const Path parent = path.parent_path();
  return parent.empty() ? Path(".") : parent;
}

MemoryLimitError no_memory_for(const Path& path, int64_t size) {
  return MemoryLimitError(concat("cannot read ", path.string(), ": there is no memory for its ",
                                 size > 0 ? concat(size, " bytes") : "content"));
}

std::string read_file(const Path& path) {
  const OpenFile file(std::fopen(path.c_str(), "rbe"));
  if (!file) throw FileError(system_error_message("open", path.string()));
  struct stat info {};
  const bool tells_its_size = fstat(fileno(file.get()), &info) == 0 && S_ISREG(info.st_mode);
  std::string text;
  try {
    if (tells_its_size) text.reserve(static_cast<size_t>(info.st_size));
    char block[1 << 16];
    size_t n = 0;
    while ((n = std::fread(block, 1, sizeof block, file.get())) > 0) text.append(block, n);
  } catch (const std::exception&) {  // of the string: out of memory, or longer than any may be
    throw no_memory_for(path, tells_its_size ? info.st_size : 0);
  }
  if (std::ferror(file.get())) throw FileError(system_error_message("read", path.string()));
  return text;
}

AtomicFile::AtomicFile(Path path) : path_(std::move(path)), temporary_(temporary_name(path_)) {
  struct stat info {};
  if (stat(path_.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    throw FileError(concat("cannot write ", path_.string(), ": ",
                           S_ISDIR(info.st_mode) ? "it is a folder" : "it is no regular file"));
  }
  file_ = std::fopen(temporary_.c_str(), "wb");
  if (!file_) throw FileError(system_error_message("write", path_.string()));
}

AtomicFile::~AtomicFile() {
  if (!file_) return;
  std::fclose(file_);
  std::error_code ignored;
  fs::remove(temporary_, ignored);
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;  // its pointer may be null, which fwrite does not take
  if (std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size()) {
    throw FileError(system_error_message("write", path_.string()));
  }
}

void AtomicFile::seek(int64_t offset) {
  if (fseeko(file_, static_cast<off_t>(offset), SEEK_SET) != 0) {
    throw FileError(system_error_message("seek in", path_.string()));
  }
}

void AtomicFile::commit() {
  if (std::fflush(file_) != 0 || fsync(fileno(file_)) != 0) {
    throw FileError(system_error_message("write", path_.string()));
  }
  std::FILE* file = std::exchange(file_, nullptr);
  if (std::fclose(file) != 0 || std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const std::string why = system_error_message("write", path_.string());
    std::error_code ignored;
    fs::remove(temporary_, ignored);
    throw FileError(why);
  }
  flush_path(parent_of(path_));
}

void write_file(const Path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

AtomicFolder::AtomicFolder(Path path, Existing existing)
    : path_(std::move(path)), temporary_(temporary_name(path_)), existing_(existing) {
  std::error_code error;
  if (existing == Existing::refuse && fs::exists(path_, error)) {
    throw FileError(concat(path_.string(), " exists already"));
  }
  fs::remove_all(temporary_, error);
  fs::create_directories(temporary_, error);
  if (error) {
    throw FileError(concat("cannot create ", path_.string(), ": ", error.message()));
  }
  lock_ = open(temporary_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ >= 0) flock(lock_, LOCK_EX | LOCK_NB);
}

AtomicFolder::~AtomicFolder() {
  if (lock_ >= 0) close(lock_);
  if (committed_) return;
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);
}

void AtomicFolder::commit() {
  for (const auto& entry : fs::recursive_directory_iterator(temporary_)) {
    if (!entry.is_symlink()) flush_path(entry.path());
  }
  flush_path(temporary_);
  std::error_code error;
  if (existing_ == Existing::replace && fs::exists(path_, error)) {
    replace();
  } else {
    fs::rename(temporary_, path_, error);
    if (error) throw FileError(concat("cannot create ", path_.string(), ": ", error.message()));
    committed_ = true;
  }
  flush_path(parent_of(path_));
}

// Where names cannot be exchanged there is neither folder for a moment, but never a half.
void AtomicFolder::replace() {
  std::error_code error;
  Path former = temporary_;
  if (!exchange_names(temporary_, path_)) {
    former = temporary_name(path_);
    fs::rename(path_, former, error);
    if (!error) {
      fs::rename(temporary_, path_, error);
      std::error_code ignored;
      if (error) fs::rename(former, path_, ignored);
    }
    if (error) throw FileError(concat("cannot replace ", path_.string(), ": ", error.message()));
  }
  committed_ = true;
  fs::remove_all(former, error);
  if (error) throw FileError(concat("cannot remove ", former.string(), ": ", error.message()));
}

// The number tells of processes that this one can see, the lock also of those in another container.
bool is_abandoned(const Path& folder, const Path& path) {
  const std::string prefix = path.filename().string() + ".tmp-";
  const std::string name = folder.filename().string();
  if (!name.starts_with(prefix)) return false;
  char* end = nullptr;
  const long pid = std::strtol(name.c_str() + prefix.size(), &end, 10);
  if (pid <= 0 || *end != '-' || kill(static_cast<pid_t>(pid), 0) == 0 || errno != ESRCH) {
    return false;
  }
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return false;
  const bool free = flock(fd, LOCK_EX | LOCK_NB) == 0;
  close(fd);
  return free;
}

bool exchange_names(const Path& a, const Path& b) {
#if defined(__linux__) && defined(RENAME_EXCHANGE)
  return renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0;
#elif defined(__APPLE__)
  return renamex_np(a.c_str(), b.c_str(), RENAME_SWAP) == 0;
#else
  static_cast<void>(a);
  static_cast<void>(b);
  return false;
#endif
}

void replace_symlink(const Path& link, const Path& target) {
  const Path temporary = temporary_name(link);
  std::error_code error;
  fs::remove(temporary, error);
  fs::create_symlink(target, temporary, error);
  if (!error) fs::rename(temporary, link, error);
  if (error) throw FileError(concat("cannot link ", link.string(), ": ", error.message()));
  flush_path(parent_of(link));
}

MappedFile::MappedFile(const Path& path) : path_(path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw FileError(system_error_message("open", path.string()));
  struct stat info {};
  if (fstat(fd, &info) != 0) {
    const std::string why = system_error_message("read", path.string());
    close(fd);
    throw FileError(why);
  }
  if (!S_ISREG(info.st_mode)) {
    close(fd);
    throw FileError(concat("cannot read ", path.string(), ": not a regular file"));
  }
  size_ = static_cast<size_t>(info.st_size);
  if (size_ > 0) {
    void* p = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) {
      const std::string why = system_error_message("map", path.string());
      close(fd);
      throw FileError(why);
    }
    data_ = static_cast<const std::byte*>(p);
  }
  close(fd);
}

MappedFile::~MappedFile() {
  if (data_) munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace msltx
