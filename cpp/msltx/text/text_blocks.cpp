#include "msltx/text/text_blocks.h"

#include "msltx/base/error.h"
#include "msltx/text/split.h"

namespace msltx::text {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

// The lines of `block` that are UTF-8; `skipped` counts the others.
std::string without_invalid_lines(std::string_view block, int64_t& skipped) {
  std::string out;
  while (!block.empty()) {
    const size_t feed = block.find('\n');
    const std::string_view line = block.substr(0, feed == block.npos ? block.npos : feed + 1);
    if (find_invalid_utf8(line) == kValid) {
      out += line;
    } else {
      ++skipped;
    }
    block.remove_prefix(line.size());
  }
  return out;
}

}  // namespace

TextBlocks::TextBlocks(const Path& path, InvalidUtf8 invalid, int64_t block_bytes)
    : source_(path), invalid_(invalid), block_bytes_(static_cast<size_t>(block_bytes)) {}

bool TextBlocks::fill() {
  // Three bytes more than a block: a cut then never has to fall inside a character.
  const size_t target = block_bytes_ + 3;
  while (!at_end_ && pending_.size() < target) {
    const size_t have = pending_.size();
    pending_.resize(target);
    const size_t n = source_.read(pending_.data() + have, target - have);
    pending_.resize(have + n);
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

void TextBlocks::make_valid(std::string& block) {
  if (invalid_ == InvalidUtf8::keep) return;
  const size_t bad = find_invalid_utf8(block);
  if (bad == kValid) return;
  switch (invalid_) {
    case InvalidUtf8::replace:
      block = replace_invalid_utf8(block, &counts_.replaced);
      break;
    case InvalidUtf8::skip:
      block = without_invalid_lines(block, counts_.skipped);
      break;
    default:
      throw FileError(concat(source_.name(), " has ", describe_invalid_utf8(block, bad, offset_),
                             "; invalid_utf8=replace reads it with U+FFFD instead"));
  }
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
