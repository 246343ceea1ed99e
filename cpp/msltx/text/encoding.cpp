#include "msltx/text/encoding.h"

#include <algorithm>

#include "msltx/base/error.h"

namespace msltx::text {
namespace {

// In all windows of a text: some gigabytes.
constexpr size_t kMostTokens = size_t{1} << 26;

}  // namespace

void Encoding::push(int32_t id, std::string token, TextSpan span, int32_t word, int32_t type_id,
                    bool special) {
  ids.push_back(id);
  type_ids.push_back(type_id);
  tokens.push_back(std::move(token));
  offsets.push_back(span);
  words.push_back(word);
  special_tokens_mask.push_back(special);
  attention_mask.push_back(1);
}

Encoding Encoding::part(size_t begin, size_t end) const {
  Encoding out;
  const auto cut = [&](const auto& from, auto& to) {
    to.assign(from.begin() + static_cast<ptrdiff_t>(begin),
              from.begin() + static_cast<ptrdiff_t>(end));
  };
  cut(ids, out.ids);
  cut(type_ids, out.type_ids);
  cut(tokens, out.tokens);
  cut(offsets, out.offsets);
  cut(words, out.words);
  cut(special_tokens_mask, out.special_tokens_mask);
  cut(attention_mask, out.attention_mask);
  return out;
}

void Encoding::append_plain(const Encoding& other) {
  const auto join = [](auto& to, const auto& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  join(ids, other.ids);
  join(type_ids, other.type_ids);
  join(tokens, other.tokens);
  join(offsets, other.offsets);
  join(words, other.words);
  join(special_tokens_mask, other.special_tokens_mask);
  join(attention_mask, other.attention_mask);
}

void Encoding::append(const Encoding& other) {
  // Every window of one goes with every window of the other: a template that names its text a few
  // times makes more than any memory holds.
  const size_t mine = overflowing.size(), its = other.overflowing.size();
  const size_t count = mine * its + mine + its, length = size() + other.size();
  if (mine > 0 && its > 0 && count * length > kMostTokens) {
    throw ValueError(concat("a template that has the text more than once makes ", count,
                            " windows of up to ", length, " tokens; the limit is ", kMostTokens,
                            " tokens in all"));
  }
  std::vector<Encoding> windows;
  const auto combine = [&](const Encoding& a, const Encoding& b) {
    windows.push_back(a.part(0, a.size()));
    windows.back().append_plain(b);
  };
  for (const Encoding& a : overflowing) {
    combine(a, other);
    for (const Encoding& b : other.overflowing) combine(a, b);
  }
  for (const Encoding& b : other.overflowing) combine(*this, b);
  append_plain(other);
  overflowing = std::move(windows);
}

void Encoding::truncate(int64_t max_length, int64_t stride, Side cut_off) {
  const auto length = static_cast<int64_t>(size());
  if (max_length >= length) return;
  if (max_length <= 0) {
    Encoding rest = std::move(*this);
    *this = Encoding();
    overflowing.push_back(std::move(rest));
    return;
  }
  if (stride < 0 || stride >= max_length) {
    throw ValueError(concat("stride is ", stride, "; it takes 0 to ", max_length - 1,
                            ", less than the ", max_length, " tokens that a window has room for"));
  }
  const auto count = static_cast<size_t>((length - stride - 1) / (max_length - stride) + 1);
  if (stride > 0 && count > kMostTokens / static_cast<size_t>(max_length)) {
    throw ValueError(concat("a stride of ", stride, " makes ", count, " windows of ", max_length,
                            " tokens; the limit is ", kMostTokens, " tokens in all"));
  }
  std::vector<Encoding> windows;
  const auto add = [&](int64_t begin, int64_t end) {
    windows.push_back(part(static_cast<size_t>(begin), static_cast<size_t>(end)));
  };
  if (cut_off == Side::right) {
    for (int64_t begin = 0;; begin += max_length - stride) {
      const int64_t end = std::min(begin + max_length, length);
      add(begin, end);
      if (end == length) break;
    }
  } else {
    for (int64_t end = length;; end -= max_length - stride) {
      const int64_t begin = std::max<int64_t>(end - max_length, 0);
      add(begin, end);
      if (begin == 0) break;
    }
  }
  *this = std::move(windows.front());
  overflowing.assign(std::make_move_iterator(windows.begin() + 1),
                     std::make_move_iterator(windows.end()));
}

void Encoding::pad(int64_t length, int32_t id, int32_t type_id, const std::string& token,
                   Side side) {
  for (Encoding& window : overflowing) window.pad(length, id, type_id, token, side);
  if (length <= static_cast<int64_t>(size())) return;
  const auto count = static_cast<size_t>(length) - size();
  const auto fill = [&](auto& list, const auto& value) {
    list.insert(side == Side::left ? list.begin() : list.end(), count, value);
  };
  fill(ids, id);
  fill(type_ids, type_id);
  fill(tokens, token);
  fill(offsets, TextSpan{});
  fill(words, -1);
  fill(special_tokens_mask, uint8_t{1});
  fill(attention_mask, uint8_t{0});
}

}  // namespace msltx::text
