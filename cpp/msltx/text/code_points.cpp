#include "msltx/text/code_points.h"

#include <algorithm>
#include <cstdio>
#include <iterator>

namespace msltx::text {
namespace {

constexpr char32_t kLast = 0x10FFFF, kBeforeSurrogates = 0xD7FF, kBehindSurrogates = 0xE000;

void append(std::string& out, char32_t c) {
  char text[16];
  std::snprintf(text, sizeof text, "\\x{%X}", static_cast<unsigned>(c));
  out += text;
}

}  // namespace

CodePoints::CodePoints(char32_t first, char32_t last) {
  if (first <= kBeforeSurrogates) ranges_.push_back({first, std::min(last, kBeforeSurrogates)});
  if (last >= kBehindSurrogates) ranges_.push_back({std::max(first, kBehindSurrogates), last});
}

CodePoints CodePoints::where(const std::function<bool(char32_t)>& belongs) {
  CodePoints out;
  for (char32_t c = 0; c <= kLast; ++c) {
    if (c == kBeforeSurrogates + 1) c = kBehindSurrogates;
    if (!belongs(c)) continue;
    const bool goes_on = !out.ranges_.empty() && out.ranges_.back().last + 1 == c;
    if (goes_on) {
      out.ranges_.back().last = c;
    } else {
      out.ranges_.push_back({c, c});
    }
  }
  return out;
}

CodePoints CodePoints::of(const CodePointRange* ranges, size_t count) {
  CodePoints out;
  out.ranges_.assign(ranges, ranges + count);
  return out;
}

bool CodePoints::has(char32_t c) const {
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), c,
                                      [](char32_t x, CodePointRange r) { return x < r.first; });
  return after != ranges_.begin() && c <= (after - 1)->last;
}

CodePoints& CodePoints::operator|=(const CodePoints& other) {
  std::vector<CodePointRange> all;
  all.reserve(ranges_.size() + other.ranges_.size());
  std::merge(ranges_.begin(), ranges_.end(), other.ranges_.begin(), other.ranges_.end(),
             std::back_inserter(all),
             [](CodePointRange a, CodePointRange b) { return a.first < b.first; });
  ranges_.clear();
  for (const CodePointRange range : all) {
    if (!ranges_.empty() && range.first <= ranges_.back().last + 1) {
      ranges_.back().last = std::max(ranges_.back().last, range.last);
    } else {
      ranges_.push_back(range);
    }
  }
  return *this;
}

CodePoints CodePoints::operator&(const CodePoints& other) const {
  CodePoints out;
  for (size_t i = 0, j = 0; i < ranges_.size() && j < other.ranges_.size();) {
    const CodePointRange a = ranges_[i], b = other.ranges_[j];
    const char32_t first = std::max(a.first, b.first), last = std::min(a.last, b.last);
    if (first <= last) out.ranges_.push_back({first, last});
    ++(a.last < b.last ? i : j);
  }
  return out;
}

CodePoints CodePoints::operator~() const {
  CodePoints out;
  char32_t next = 0;
  const auto add_up_to = [&](char32_t end) {  // [next, end), but for surrogates
    if (next >= end) return;
    const CodePoints between(next, end - 1);
    out.ranges_.insert(out.ranges_.end(), between.ranges_.begin(), between.ranges_.end());
  };
  for (const CodePointRange range : ranges_) {
    add_up_to(range.first);
    next = range.last + 1;
  }
  add_up_to(kLast + 1);
  return out;
}

std::string CodePoints::pattern(bool others) const {
  // An empty pair of brackets would take in what follows it.
  if (empty()) return others ? "[\\x{0}-\\x{10FFFF}]" : "(?!)";
  std::string out = others ? "[^" : "[";
  for (const CodePointRange range : ranges_) {
    append(out, range.first);
    if (range.last == range.first) continue;
    out += '-';
    append(out, range.last);
  }
  out += ']';
  return out;
}

}  // namespace msltx::text
