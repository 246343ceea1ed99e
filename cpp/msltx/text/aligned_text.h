// AlignedText: a text that is rewritten step by step while each of its bytes keeps the bytes of the
// original text that it came from. As the NormalizedString of the Hugging Face library, whose
// offsets it reproduces. Where nobody asks for offsets it is a string and nothing more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "msltx/text/utf8.h"

namespace msltx::text {

struct TextSpan {
  uint32_t begin = 0, end = 0;
  bool operator==(const TextSpan&) const = default;
};

class AlignedText {
 public:
  // One character of a rewritten text: 0 stands for the next character as it was, 1 is new beside
  // the one before it, -n stands for the next one with n more after it, which go.
  struct Change {
    char32_t character;
    int32_t change;
  };

  AlignedText() = default;
  // Throws ValueError for 4 GiB and more, as does whatever lets it grow to that.
  AlignedText(std::string_view text, bool tracked);

  const std::string& text() const { return text_; }
  bool empty() const { return text_.empty(); }
  bool tracked() const { return tracked_; }
  // Where in the original its first byte stands; where it is not tracked, in what it is a slice of.
  uint32_t begin() const { return shift_ + (spans_.empty() ? 0 : spans_.front().begin); }

  // Rewriting throws ValueError where the text would grow beyond this many bytes, and this many
  // times its length: replacements that follow one another could make anything of it.
  static constexpr size_t kMostBytes = size_t{1} << 20, kMostGrowth = 256;

  // The bytes of the original that bytes [begin, end) stand for.
  TextSpan original(size_t begin, size_t end) const;

  // Rewrites the whole text; `removed` characters at its beginning go.
  void transform(std::span<const Change> changes, size_t removed = 0);
  // The text without the characters that keep(c) is false for.
  template <class Keep>
  void filter(Keep&& keep) {
    std::vector<Change> changes;
    size_t removed = 0, at_front = 0;
    char32_t kept = 0;
    bool any = false;
    for_each([&](char32_t c) {
      if (!keep(c)) {
        ++removed;
        return;
      }
      if (any) {
        changes.push_back({kept, -static_cast<int32_t>(removed)});
      } else {
        at_front = removed;
      }
      any = true;
      kept = c;
      removed = 0;
    });
    if (any) changes.push_back({kept, -static_cast<int32_t>(removed)});
    transform(changes, at_front);
  }
  template <class Map>
  void map(Map&& to) {
    std::vector<Change> changes;
    changes.reserve(text_.size());
    for_each([&](char32_t c) { changes.push_back({to(c), 0}); });
    transform(changes);
  }
  // Nothing where the text is empty.
  void prepend(std::string_view what);
  // Every byte range of `matches`, in order, becomes `content`.
  void replace(std::span<const TextSpan> matches, std::string_view content);

  AlignedText slice(size_t begin, size_t end) const;

  // fn(character), in order.
  template <class Fn>
  void for_each(Fn&& fn) const {
    const char* p = text_.data();
    const char* const end = p + text_.size();
    while (p < end) fn(decode_utf8(p));
  }

 private:
  void transform_range(size_t begin, size_t end, std::span<const Change> changes, size_t removed);
  void check_growth(size_t size) const;

  std::string text_;
  std::vector<TextSpan> spans_;  // by byte of text_, relative to shift_; empty: not tracked
  size_t limit_ = kMostBytes;
  uint32_t shift_ = 0;
  bool tracked_ = false;
};

}  // namespace msltx::text
