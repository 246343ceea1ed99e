#include "msltx/text/utf8.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>

#include "msltx/base/executor.h"

namespace msltx::text {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

struct Sequence {
  int length;    // bytes looked at that belong together
  bool whole;    // they are a well-formed sequence
  bool cut_off;  // they are the beginning of one that the end of the text cut off
};

// The sequence at text[at], by table 3-7 of the Unicode standard. An ill-formed one has the length
// of its maximal subpart, at least 1.
Sequence sequence_at(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  if (first < 0x80) return {1, true, false};
  int length = 0;
  unsigned char low = 0x80, high = 0xBF;  // what the second byte may be
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  } else {
    return {1, false, false};
  }
  for (int i = 1; i < length; ++i) {
    const size_t place = at + static_cast<size_t>(i);
    if (place == text.size()) return {i, false, true};
    if (byte(place) < low || byte(place) > high) return {i, false, false};
    low = 0x80;
    high = 0xBF;
  }
  return {length, true, false};
}

bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

// The end of the run of ASCII bytes from `at` on, eight at a time.
size_t skip_ascii(std::string_view text, size_t at) {
  constexpr uint64_t kHighBits = 0x8080808080808080u;
  uint64_t word = 0;
  while (at + sizeof word <= text.size()) {
    std::memcpy(&word, text.data() + at, sizeof word);
    if (word & kHighBits) break;
    at += sizeof word;
  }
  while (at < text.size() && static_cast<unsigned char>(text[at]) < 0x80) ++at;
  return at;
}

}  // namespace

InvalidUtf8 invalid_utf8_from_name(std::string_view name) {
  if (name == "refuse") return InvalidUtf8::refuse;
  if (name == "replace") return InvalidUtf8::replace;
  if (name == "skip") return InvalidUtf8::skip;
  throw ValueError(concat("invalid_utf8 is ", name, "; it takes refuse, replace or skip"));
}

std::string_view name_of(InvalidUtf8 invalid) {
  switch (invalid) {
    case InvalidUtf8::refuse:
      return "refuse";
    case InvalidUtf8::replace:
      return "replace";
    case InvalidUtf8::skip:
      return "skip";
    case InvalidUtf8::keep:
      return "keep";
  }
  return "";
}

size_t find_invalid_utf8(std::string_view text) {
  for (size_t at = skip_ascii(text, 0); at < text.size(); at = skip_ascii(text, at)) {
    while (at < text.size() && static_cast<unsigned char>(text[at]) >= 0x80) {
      const Sequence s = sequence_at(text, at);
      if (!s.whole) return at;
      at += static_cast<size_t>(s.length);
    }
  }
  return kValid;
}

size_t find_invalid_utf8(std::string_view text, Executor& executor) {
  constexpr size_t kBlock = size_t{1} << 20;
  const auto begin_of = [&](size_t block) {
    // Where a character may begin: continuation bytes, of which it has three at most, belong to the
    // block before.
    const size_t border = std::min(block * kBlock, text.size());
    size_t at = border;
    while (at > 0 && at < text.size() && at < border + 3 && is_continuation(text[at])) ++at;
    return at;
  };
  std::atomic<size_t> first = kValid;
  executor.parallel_for(static_cast<int64_t>(text.size() / kBlock + 1), [&](int64_t task, int) {
    executor.check_cancelled();
    const size_t begin = begin_of(static_cast<size_t>(task));
    const size_t end = begin_of(static_cast<size_t>(task) + 1);
    if (begin >= end) return;
    size_t bad = find_invalid_utf8(text.substr(begin, end - begin));
    if (bad != kValid) bad += begin;
    for (size_t known = first; bad < known && !first.compare_exchange_weak(known, bad);) {
    }
  });
  return first;
}

std::string replace_invalid_utf8(std::string_view text, int64_t* replaced) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t bad = find_invalid_utf8(text.substr(at));
    if (bad == kValid) {
      out += text.substr(at);
      break;
    }
    out += text.substr(at, bad);
    out += kReplacement;
    if (replaced) ++*replaced;
    at += bad + static_cast<size_t>(sequence_at(text, at + bad).length);
  }
  return out;
}

size_t incomplete_utf8_tail(std::string_view text) {
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const size_t at = text.size() - back;
    const auto byte = static_cast<unsigned char>(text[at]);
    if ((byte & 0xC0) == 0x80) continue;  // a continuation byte: look further back
    return sequence_at(text, at).cut_off ? back : 0;
  }
  return 0;
}

std::string describe_invalid_utf8(std::string_view text, size_t at, int64_t offset_of_text) {
  char byte[8];
  std::snprintf(byte, sizeof byte, "0x%02x", static_cast<unsigned>(text[at]) & 0xFFu);
  return concat("invalid UTF-8 at byte ", offset_of_text + static_cast<int64_t>(at), " (", byte,
                ")");
}

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

}  // namespace msltx::text
