#include "msltx/text/added_tokens.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#include "msltx/text/hf_unicode.h"
#include "msltx/text/unicode.h"
#include "msltx/text/utf8.h"

namespace msltx::text {
namespace {

unsigned char first_byte(const std::string& s) { return static_cast<unsigned char>(s[0]); }

// The beginning of the character that ends before `at` > 0.
size_t character_before(std::string_view text, size_t at) {
  --at;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

char32_t character_at(std::string_view text, size_t at) {
  const char* p = text.data() + at;
  return decode_utf8(p);
}

bool ends_with_word(std::string_view text) {
  return !text.empty() &&
         hf::is(character_at(text, character_before(text, text.size())), hf::HfClass::word);
}
bool starts_with_word(std::string_view text) {
  return !text.empty() && hf::is(character_at(text, 0), hf::HfClass::word);
}

// Where the white space that ends at `at` begins, and where that which begins there ends.
size_t spaces_begin(std::string_view text, size_t at) {
  while (at > 0) {
    const size_t before = character_before(text, at);
    if (!is_space(character_at(text, before))) break;
    at = before;
  }
  return at;
}
size_t spaces_end(std::string_view text, size_t at) {
  while (at < text.size()) {
    const char* p = text.data() + at;
    if (!is_space(decode_utf8(p))) break;
    at = static_cast<size_t>(p - text.data());
  }
  return at;
}

}  // namespace

TokenMatcher::TokenMatcher(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::erase_if(tokens_, [](const AddedToken& token) { return token.content.empty(); });
  std::sort(tokens_.begin(), tokens_.end(), [](const AddedToken& a, const AddedToken& b) {
    if (first_byte(a.content) != first_byte(b.content)) {
      return first_byte(a.content) < first_byte(b.content);
    }
    if (a.content.size() != b.content.size()) return a.content.size() > b.content.size();
    return std::tie(a.content, a.id) < std::tie(b.content, b.id);
  });
  for (const AddedToken& token : tokens_) {
    ++first_of_byte_[first_byte(token.content) + size_t{1}];
    spans_spaces_ |= token.content.find(' ') != std::string::npos || token.lstrip || token.rstrip;
  }
  // Of equal contents the first counts here, in the trie the last.
  std::vector<std::pair<std::string_view, int32_t>> entries;
  for (size_t k = tokens_.size(); k-- > 0;) {
    entries.emplace_back(tokens_[k].content, static_cast<int32_t>(k));
  }
  trie_ = ByteTrie(std::move(entries));
  for (size_t b = 0; b < 256; ++b) first_of_byte_[b + 1] += first_of_byte_[b];
  if (!tokens_.empty() &&
      first_byte(tokens_.front().content) == first_byte(tokens_.back().content)) {
    only_first_byte_ = first_byte(tokens_.front().content);
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

TokenMatcher::Match TokenMatcher::find(std::string_view text, size_t from, size_t taken) const {
  if (tokens_.empty()) return {};
  for (size_t at = from; at < text.size();) {
    at = next_candidate(text, at);
    if (at == text.size()) break;
    const AddedToken* found = nullptr;
    trie_.for_each_prefix(text.substr(at),
                          [&](int32_t k, size_t) { found = &tokens_[static_cast<size_t>(k)]; });
    if (!found) {
      ++at;
      continue;
    }
    const size_t end = at + found->content.size();
    if (found->single_word &&
        (ends_with_word(text.substr(0, at)) || starts_with_word(text.substr(end)))) {
      at = end;
      continue;
    }
    Match match{at, end, found->id, end};
    if (found->lstrip) match.begin = std::max(spaces_begin(text, at), taken);
    if (found->rstrip) match.end = spaces_end(text, end);
    return match;
  }
  return {};
}

}  // namespace msltx::text
