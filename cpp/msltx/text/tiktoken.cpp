#include "msltx/text/tiktoken.h"

#include <algorithm>
#include <charconv>
#include <tuple>
#include <unordered_map>

#include "msltx/base/error.h"
#include "msltx/text/byte_alphabet.h"
#include "msltx/text/normalizer.h"

namespace msltx::text {
namespace {

constexpr int32_t kMaxRank = 1 << 26;
// A token longer than this has no place in a sensible file, and its pairs would take long to find.
constexpr size_t kMaxTokenBytes = 1 << 12;

}  // namespace

std::optional<KnownEncoding> known_encoding(std::string_view name) {
  if (name == "gpt2" || name == "r50k_base" || name == "p50k_base") {
    return KnownEncoding{SplitPattern::gpt2, {{"<|endoftext|>", 50256}}};
  }
  if (name == "cl100k_base") {
    return KnownEncoding{SplitPattern::cl100k,
                         {{"<|endoftext|>", 100257},
                          {"<|fim_prefix|>", 100258},
                          {"<|fim_middle|>", 100259},
                          {"<|fim_suffix|>", 100260},
                          {"<|endofprompt|>", 100276}}};
  }
  if (name == "o200k_base") {
    return KnownEncoding{SplitPattern::o200k,
                         {{"<|endoftext|>", 199999}, {"<|endofprompt|>", 200018}}};
  }
  return std::nullopt;
}

TokenizerSpec parse_tiktoken(std::string_view text, const std::string& name, SplitPattern split,
                             const NamedIds& special_tokens) {
  std::unordered_map<std::string, int32_t> ranks;
  int32_t greatest = -1;
  int64_t line_number = 0;
  while (!text.empty()) {
    const size_t feed = text.find('\n');
    std::string_view line = text.substr(0, feed);
    text.remove_prefix(feed == std::string_view::npos ? text.size() : feed + 1);
    ++line_number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const auto fail = [&](const std::string& what) {
      throw FileError(concat(name, " ", what, " in line ", line_number));
    };
    const size_t space = line.find(' ');
    if (space == std::string_view::npos) fail("has no rank");
    std::string bytes;
    try {
      bytes = from_base64(std::string(line.substr(0, space)), "a token");
    } catch (const ValueError& error) {
      fail(error.what());
    }
    if (bytes.empty() || bytes.size() > kMaxTokenBytes) {
      fail(concat("has a token of ", bytes.size(), " bytes; 1 to ", kMaxTokenBytes, " are read"));
    }
    int32_t rank = -1;
    const std::string_view digits = line.substr(space + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), rank);
    if (error != std::errc() || end != digits.data() + digits.size() || rank < 0 ||
        rank > kMaxRank) {
      fail(concat("has the rank ", digits, "; ranks are 0 to ", kMaxRank));
    }
    if (!ranks.emplace(std::move(bytes), rank).second) fail("has a token for the second time");
    greatest = std::max(greatest, rank);
  }
  if (ranks.empty()) throw FileError(concat(name, " has no tokens"));
  const auto most =
      static_cast<int64_t>(std::min<size_t>(16 * ranks.size() + (1u << 20), kMaxRank));
  if (greatest > most) {
    throw FileError(concat(name, " has the rank ", greatest, " with ", ranks.size(), " tokens"));
  }

  TokenizerSpec spec;
  spec.split = split;
  spec.ignore_merges = true;
  spec.tokens.resize(static_cast<size_t>(greatest) + 1);
  struct Merge {
    int32_t rank, left, right;
    bool operator<(const Merge& other) const {
      return std::tie(rank, left, right) < std::tie(other.rank, other.left, other.right);
    }
  };
  std::vector<Merge> merges;
  std::string left, right;
  for (const auto& [bytes, rank] : ranks) {
    std::string& token = spec.tokens[static_cast<size_t>(rank)];
    if (!token.empty()) {
      throw FileError(concat(name, " gives the rank ", rank, " to two tokens"));
    }
    token = to_byte_alphabet(bytes);
    // Any two tokens that make this one are merged into it.
    for (size_t at = 1; at < bytes.size(); ++at) {
      left.assign(bytes, 0, at);
      const auto a = ranks.find(left);
      if (a == ranks.end()) continue;
      right.assign(bytes, at);
      const auto b = ranks.find(right);
      if (b != ranks.end()) merges.push_back({rank, a->second, b->second});
    }
  }
  std::sort(merges.begin(), merges.end());
  for (const Merge& merge : merges) {
    spec.merges.emplace_back(merge.left, merge.right);
    spec.ranks.push_back(static_cast<uint32_t>(merge.rank));
  }
  for (const auto& [content, id] : special_tokens) {
    if (content.empty()) throw ValueError(concat("the special token of id ", id, " is empty"));
    if (id < 0 || id > most) {
      throw ValueError(concat("special token ", content, " has id ", id, "; ids of a file of ",
                              ranks.size(), " tokens are 0 to ", most));
    }
    const auto place = static_cast<size_t>(id);
    if (place >= spec.tokens.size()) spec.tokens.resize(place + 1);
    if (!spec.tokens[place].empty()) {
      throw ValueError(concat("special token ", content, " has id ", id, ", which the token ",
                              spec.tokens[place], " has"));
    }
    spec.tokens[place] = content;
    spec.added.push_back({.content = content, .id = id, .special = true});
  }
  return spec;
}

}  // namespace msltx::text
