#include "msltx/text/pattern.h"

#include <algorithm>

#include "msltx/base/error.h"

namespace msltx::text {
namespace {

struct Part {
  TextSpan span;
  bool match;
};

}  // namespace

Pattern::Pattern(const Json& component) {
  const Json& pattern = member_of(component, "pattern");
  if (!member_of(pattern, "String").is_null()) {
    text_ = text_field(pattern, "String");
  } else if (!member_of(pattern, "Regex").is_null()) {
    text_ = text_field(pattern, "Regex");
    try {
      regex_.emplace(text_);
    } catch (const ValueError& error) {
      throw ValueError(concat("cannot be read: ", error.what()));
    }
  } else {
    wrong_field("pattern", pattern, "a String or a Regex");
  }
}

void Pattern::find_all(std::string_view text, std::vector<TextSpan>& matches) const {
  if (regex_) return regex_->find_all(text, matches);
  if (text_.empty()) {  // matches before every character and at the end, as an expression does
    for (size_t i = 0; i <= text.size(); ++i) {
      if (i < text.size() && (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80) continue;
      matches.push_back({static_cast<uint32_t>(i), static_cast<uint32_t>(i)});
    }
    return;
  }
  for (size_t at = text.find(text_); at != std::string_view::npos;
       at = text.find(text_, at + text_.size())) {
    matches.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(at + text_.size())});
  }
}

SplitBehavior behavior_field(const Json& object, const char* key, SplitBehavior otherwise) {
  const Json& value = member_of(object, key);
  if (value.is_null()) return otherwise;
  const std::string name = text_field(object, key);
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  wrong_field(key, value, "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

std::vector<TextSpan> split_at(std::span<const TextSpan> matches, size_t size,
                               SplitBehavior behavior, bool invert) {
  std::vector<Part> parts;
  parts.reserve(2 * matches.size() + 1);
  uint32_t from = 0;
  for (const TextSpan& match : matches) {
    if (from != match.begin) parts.push_back({{from, match.begin}, invert});
    parts.push_back({match, !invert});
    from = match.end;
  }
  if (from != size) parts.push_back({{from, static_cast<uint32_t>(size)}, invert});

  std::vector<TextSpan> out;
  out.reserve(parts.size());
  bool previous = false;  // whether the part before was a match
  switch (behavior) {
    case SplitBehavior::removed:
      for (const Part& part : parts) {
        if (!part.match) out.push_back(part.span);
      }
      break;
    case SplitBehavior::isolated:
      for (const Part& part : parts) out.push_back(part.span);
      break;
    case SplitBehavior::contiguous:
      for (const Part& part : parts) {
        if (part.match == previous && !out.empty()) {
          out.back().end = part.span.end;
        } else {
          out.push_back(part.span);
        }
        previous = part.match;
      }
      break;
    case SplitBehavior::merged_with_previous:
      for (const Part& part : parts) {
        if (part.match && !previous && !out.empty()) {
          out.back().end = part.span.end;
        } else {
          out.push_back(part.span);
        }
        previous = part.match;
      }
      break;
    case SplitBehavior::merged_with_next:
      for (size_t i = parts.size(); i-- > 0;) {
        if (parts[i].match && !previous && !out.empty()) {
          out.back().begin = parts[i].span.begin;
        } else {
          out.push_back(parts[i].span);
        }
        previous = parts[i].match;
      }
      std::reverse(out.begin(), out.end());
      break;
  }
  return out;
}

}  // namespace msltx::text
