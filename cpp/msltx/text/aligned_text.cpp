#include "msltx/text/aligned_text.h"

#include <algorithm>
#include <limits>

#include "msltx/base/error.h"

namespace msltx::text {
namespace {

size_t bytes_at(const char* p) {
  const char* after = p;
  decode_utf8(after);
  return static_cast<size_t>(after - p);
}

// Places in a text, and in what becomes of it, have 32 bits.
constexpr size_t kMostPlaces = std::numeric_limits<uint32_t>::max() - 1;

void check_length(size_t bytes) {
  if (bytes > kMostPlaces) {
    throw ValueError(concat("a text has ", bytes, " bytes; the limit is ", kMostPlaces));
  }
}

}  // namespace

AlignedText::AlignedText(std::string_view text, bool tracked) : text_(text), tracked_(tracked) {
  check_length(text.size());
  limit_ = std::max(kMostBytes, std::min(kMostGrowth * text.size(), kMostPlaces));
  if (!tracked) return;
  spans_.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t n = bytes_at(text.data() + at);
    spans_.insert(spans_.end(), n, {static_cast<uint32_t>(at), static_cast<uint32_t>(at + n)});
    at += n;
  }
}

void AlignedText::check_growth(size_t size) const {
  if (size > limit_) {
    throw ValueError(concat("normalizing makes ", size, " bytes of a text; the limit is ", limit_));
  }
}

TextSpan AlignedText::original(size_t begin, size_t end) const {
  // An empty range keeps its place in the rewritten text, as the library has it.
  if (begin == end) {
    return {shift_ + static_cast<uint32_t>(begin), shift_ + static_cast<uint32_t>(end)};
  }
  return {shift_ + spans_[begin].begin, shift_ + spans_[end - 1].end};
}

void AlignedText::transform(std::span<const Change> changes, size_t removed) {
  size_t begin = 0;
  if (tracked_) {
    // What stands for nothing at the very beginning stays.
    while (begin < spans_.size() && spans_[begin].begin == spans_[begin].end) ++begin;
  }
  transform_range(begin, text_.size(), changes, removed);
}

void AlignedText::transform_range(size_t begin, size_t end, std::span<const Change> changes,
                                  size_t removed) {
  std::string made;
  made.reserve(end - begin);
  if (!tracked_) {
    for (const Change& change : changes) append_utf8(made, change.character);
    check_growth(text_.size() - (end - begin) + made.size());
    if (begin == 0 && end == text_.size()) {
      text_.swap(made);
    } else {
      text_.replace(begin, end - begin, made);
    }
    return;
  }
  size_t at = begin;  // in the text as it was
  const auto skip = [&](size_t characters) {
    for (; characters > 0 && at < end; --characters) at += bytes_at(text_.data() + at);
  };
  skip(removed);
  std::vector<TextSpan> spans;
  spans.reserve(end - begin);
  for (const Change& change : changes) {
    TextSpan span;
    if (change.change > 0) {
      if (at > 0) span = spans_[at - 1];
    } else {
      if (at < spans_.size()) span = spans_[at];
      skip(1 + static_cast<size_t>(-change.change));
    }
    const size_t before = made.size();
    append_utf8(made, change.character);
    spans.insert(spans.end(), made.size() - before, span);
  }
  check_growth(text_.size() - (end - begin) + made.size());
  text_.replace(begin, end - begin, made);
  const auto first = spans_.begin() + static_cast<ptrdiff_t>(begin);
  if (begin == 0 && end == spans_.size()) {
    spans_.swap(spans);
  } else {
    spans_.insert(spans_.erase(first, first + static_cast<ptrdiff_t>(end - begin)), spans.begin(),
                  spans.end());
  }
}

void AlignedText::prepend(std::string_view what) {
  if (text_.empty() || what.empty()) return;
  check_growth(text_.size() + what.size());
  if (!tracked_) {
    text_.insert(0, what);
    return;
  }
  // Everything new stands for what the first character stands for.
  text_.insert(0, what);
  spans_.insert(spans_.begin(), what.size(), TextSpan(spans_.front()));
}

void AlignedText::replace(std::span<const TextSpan> matches, std::string_view content) {
  if (matches.empty()) return;
  size_t length = text_.size() + matches.size() * content.size();
  for (const TextSpan& match : matches) length -= match.end - match.begin;
  check_growth(length);
  std::string made;
  made.reserve(length);
  std::vector<TextSpan> spans;
  if (tracked_) spans.reserve(spans_.size());
  size_t from = 0;
  const auto copy = [&](size_t to) {
    made.append(text_, from, to - from);
    if (tracked_) {
      spans.insert(spans.end(), spans_.begin() + static_cast<ptrdiff_t>(from),
                   spans_.begin() + static_cast<ptrdiff_t>(to));
    }
  };
  for (const TextSpan& match : matches) {
    copy(match.begin);
    made += content;
    // New beside the last byte that it replaces.
    if (tracked_) {
      spans.insert(spans.end(), content.size(), match.end > 0 ? spans_[match.end - 1] : TextSpan{});
    }
    from = match.end;
  }
  copy(text_.size());
  text_.swap(made);
  spans_.swap(spans);
}

AlignedText AlignedText::slice(size_t begin, size_t end) const {
  AlignedText part;
  part.text_.assign(text_, begin, end - begin);
  part.limit_ = limit_;
  part.tracked_ = tracked_;
  if (!tracked_) {
    // Enough to tell the first slice from the others.
    part.shift_ = shift_ + static_cast<uint32_t>(begin);
    return part;
  }
  const uint32_t shift = begin == end ? static_cast<uint32_t>(begin) : spans_[begin].begin;
  part.shift_ = shift_ + shift;
  part.spans_.reserve(end - begin);
  for (size_t i = begin; i < end; ++i) {
    part.spans_.push_back({spans_[i].begin - shift, spans_[i].end - shift});
  }
  return part;
}

}  // namespace msltx::text
