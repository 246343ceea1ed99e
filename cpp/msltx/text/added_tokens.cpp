#include "msltx/text/added_tokens.h"

#include <algorithm>
#include <cstring>

namespace msltx::text {
namespace {

unsigned char first_byte(const std::string& s) { return static_cast<unsigned char>(s[0]); }

}  // namespace

TokenMatcher::TokenMatcher(std::vector<std::pair<std::string, int32_t>> tokens)
    : tokens_(std::move(tokens)) {
  std::erase_if(tokens_, [](const auto& token) { return token.first.empty(); });
  std::sort(tokens_.begin(), tokens_.end(), [](const auto& a, const auto& b) {
    if (first_byte(a.first) != first_byte(b.first))
      return first_byte(a.first) < first_byte(b.first);
    if (a.first.size() != b.first.size()) return a.first.size() > b.first.size();
    return a < b;
  });
  for (const auto& [content, id] : tokens_) {
    ++first_of_byte_[first_byte(content) + size_t{1}];
    spans_spaces_ |= content.find(' ') != std::string::npos;
  }
  for (size_t b = 0; b < 256; ++b) first_of_byte_[b + 1] += first_of_byte_[b];
  if (!tokens_.empty() && first_byte(tokens_.front().first) == first_byte(tokens_.back().first)) {
    only_first_byte_ = first_byte(tokens_.front().first);
  }
}

// The next place where some token's first byte stands.
size_t TokenMatcher::next_candidate(std::string_view text, size_t from) const {
  if (only_first_byte_ >= 0) {
    const void* p = std::memchr(text.data() + from, only_first_byte_, text.size() - from);
    return p ? static_cast<size_t>(static_cast<const char*>(p) - text.data()) : text.size();
  }
  const auto begins = [&](char c) {
    const auto b = static_cast<unsigned char>(c);
    return first_of_byte_[b] != first_of_byte_[b + size_t{1}];
  };
  while (from < text.size() && !begins(text[from])) ++from;
  return from;
}

TokenMatcher::Match TokenMatcher::find(std::string_view text, size_t from) const {
  if (tokens_.empty()) return {};
  for (size_t at = from; at < text.size(); ++at) {
    at = next_candidate(text, at);
    if (at == text.size()) break;
    const auto byte = static_cast<unsigned char>(text[at]);
    for (uint32_t k = first_of_byte_[byte]; k < first_of_byte_[byte + size_t{1}]; ++k) {
      const auto& [content, id] = tokens_[k];
      if (text.substr(at).starts_with(content)) return {at, at + content.size(), id};
    }
  }
  return {};
}

}  // namespace msltx::text
