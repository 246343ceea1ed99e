// Files: whole reads, read-only mappings, and writes that either happen completely or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "msltx/base/error.h"

namespace msltx {

using Path = std::filesystem::path;

// The error to throw where the system gives no memory for a file; `size` 0: it is not known.
MemoryLimitError no_memory_for(const Path& path, int64_t size);

// Throws FileError, and MemoryLimitError where the system gives no memory for it.
std::string read_file(const Path& path);

// Returns when the file, or the folder's list of names, is on the disk.
void flush_path(const Path& path);
Path parent_of(const Path& path);  // "." for a bare name

// Writes PATH.tmp-PID-N, flushes it, then renames it over PATH and flushes the folder. Without
// commit() the temporary file is removed and PATH stays as it was. A PATH that is no regular file
// (a folder, a device such as /dev/stdout) is refused: the rename would put a file in its place.
class AtomicFile {
 public:
  explicit AtomicFile(Path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(const void* data, int64_t size) {
    write(std::span(static_cast<const std::byte*>(data), static_cast<size_t>(size)));
  }
  void write(std::string_view text) { write(text.data(), static_cast<int64_t>(text.size())); }
  // Back to `offset` bytes from the start: for a header whose counts are known only at the end.
  void seek(int64_t offset);
  void commit();

 private:
  Path path_, temporary_;
  std::FILE* file_ = nullptr;
};

void write_file(const Path& path, std::string_view text);  // through AtomicFile

// What an AtomicFolder does with what stands at its place.
enum class Existing : uint8_t { refuse, replace };

// A folder that appears under its final name whole or not at all: fill path(), then commit(). Files
// in it are flushed by commit(), and the folder it replaces is removed then.
class AtomicFolder {
 public:
  explicit AtomicFolder(Path path, Existing existing = Existing::refuse);
  ~AtomicFolder();
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;

  const Path& path() const { return temporary_; }
  void commit();

 private:
  void replace();

  Path path_, temporary_;
  Existing existing_;
  bool committed_ = false;
  int lock_ = -1;  // held while it is being filled: see is_abandoned
};

// True for a folder PATH.tmp-PID-N that an AtomicFolder of a process that is gone has left.
bool is_abandoned(const Path& folder, const Path& path);

// Exchanges two names in one system call; false where the system or the file system has none.
bool exchange_names(const Path& a, const Path& b);

// Points the symbolic link LINK at TARGET (relative to the link's folder), replacing it by rename.
void replace_symlink(const Path& link, const Path& target);

// A file mapped read-only. Empty files map to an empty span.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const Path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const Path& path() const { return path_; }

 private:
  Path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace msltx
