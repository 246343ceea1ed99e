// Split patterns by name, and the regular expressions that mean them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "msltx/text/split_words.h"

namespace msltx::text {

// The patterns that byte-level BPE has splitters for.
enum class SplitPattern : uint8_t { gpt2, cl100k, o200k, llama3, qwen2 };

std::string_view name_of(SplitPattern pattern);
std::optional<SplitPattern> split_pattern_from_name(std::string_view name);

// The expression as tokenizer.json files write it, in Oniguruma's Ruby syntax ("{1,3}+" would
// repeat without end there), and the pattern that such an expression means.
std::string_view regex_of(SplitPattern pattern);
std::optional<SplitPattern> split_pattern_from_regex(std::string_view regex);

// fn(Split()) for the splitter of the pattern.
template <class Fn>
decltype(auto) with_split(SplitPattern pattern, Fn&& fn) {
  switch (pattern) {
    case SplitPattern::cl100k:
      return fn(Cl100kSplit());
    case SplitPattern::o200k:
      return fn(O200kSplit());
    case SplitPattern::llama3:
      return fn(Llama3Split());
    case SplitPattern::qwen2:
      return fn(Qwen2Split());
    case SplitPattern::gpt2:
      break;
  }
  return fn(Gpt2Split());
}

}  // namespace msltx::text
