#include "msltx/text/text_blocks.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "msltx/base/error.h"
#include "msltx/text/split.h"

namespace msltx::text {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

}  // namespace

TextBlocks::TextBlocks(Path path, InvalidUtf8 invalid, int64_t block_bytes)
    : path_(std::move(path)), invalid_(invalid), block_bytes_(static_cast<size_t>(block_bytes)) {
  fd_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) throw FileError(system_error_message("open", path_.string()));
  struct stat info {};
  if (fstat(fd_, &info) == 0 && S_ISREG(info.st_mode)) total_ = info.st_size;
}

TextBlocks::~TextBlocks() { close(fd_); }

bool TextBlocks::fill() {
  // Three bytes more than a block: a cut then never has to fall inside a character.
  const size_t target = block_bytes_ + 3;
  while (!at_end_ && pending_.size() < target) {
    const size_t have = pending_.size();
    pending_.resize(target);
    const ssize_t n = read(fd_, pending_.data() + have, target - have);
    if (n < 0 && errno != EINTR) {
      throw FileError(system_error_message("read", path_.string()));
    }
    pending_.resize(have + (n > 0 ? static_cast<size_t>(n) : 0));
    at_end_ = n == 0;
    if (offset_ == 0 && pending_.starts_with(kByteOrderMark)) {
      pending_.erase(0, kByteOrderMark.size());
      offset_ = static_cast<int64_t>(kByteOrderMark.size());
    }
  }
  return !pending_.empty();
}

// How many bytes of pending_ make the next block.
size_t TextBlocks::cut() const {
  if (at_end_ && pending_.size() <= block_bytes_) return pending_.size();
  const char* const begin = pending_.data();
  const size_t line_end = pending_.rfind('\n', block_bytes_ - 1);
  if (line_end != std::string::npos) return line_end + 1;
  // From 3 bytes before the end on: is_boundary may decode a broken character past `at`.
  for (size_t at = block_bytes_ - 3; at > block_bytes_ / 2; --at) {
    if (Gpt2Split::is_boundary(begin, begin + at)) return at;
  }
  size_t at = block_bytes_;
  while (at > block_bytes_ - 3 && (static_cast<unsigned char>(begin[at]) & 0xC0) == 0x80) --at;
  return at;
}

void TextBlocks::make_valid(std::string& block) const {
  const size_t bad = find_invalid_utf8(block);
  if (bad == kValid) return;
  if (invalid_ == InvalidUtf8::refuse) {
    throw FileError(concat(path_.string(), " has ", describe_invalid_utf8(block, bad, offset_),
                           "; invalid_utf8=replace reads it with U+FFFD instead"));
  }
  block = replace_invalid_utf8(block);
}

bool TextBlocks::next(std::string& block) {
  if (!fill()) return false;
  const size_t size = cut();
  block.assign(pending_, 0, size);
  pending_.erase(0, size);
  make_valid(block);
  offset_ += static_cast<int64_t>(size);
  return true;
}

}  // namespace msltx::text
