// Classes of regular expressions written out as ranges of our Unicode tables, and what Oniguruma
// reads otherwise than PCRE2.
#include <array>
#include <cstdio>
#include <optional>

#include "msltx/base/error.h"
#include "msltx/text/hf_unicode.h"
#include "msltx/text/regex.h"
#include "msltx/text/unicode.h"

namespace msltx::text {
namespace {

constexpr char32_t kCodePoints = 0x110000;

// The group that stands for a character of a word.
constexpr std::string_view kWord = "msltx_word";

// "\x{41}-\x{5A}..." over the code points that belong(c) holds for.
template <class Belongs>
std::string ranges_of(Belongs&& belongs) {
  std::string out;
  const auto write = [&](char32_t c) {
    char text[16];
    std::snprintf(text, sizeof text, "\\x{%X}", static_cast<unsigned>(c));
    out += text;
  };
  for (char32_t c = 0; c < kCodePoints; ++c) {
    if ((c >= 0xD800 && c < 0xE000) || !belongs(c)) continue;
    const char32_t first = c;
    while (c + 1 < kCodePoints && c + 1 != 0xD800 && belongs(c + 1)) ++c;
    write(first);
    if (c > first) {
      out += '-';
      write(c);
    }
  }
  return out;
}

constexpr std::array<std::string_view, 30> kCategoryNames{
    "Cn", "Cc", "Cf", "Co", "Cs", "Ll", "Lm", "Lo", "Lt", "Lu", "Mc", "Me", "Mn", "Nd", "Nl",
    "No", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Sc", "Sk", "Sm", "So", "Zl", "Zp", "Zs"};

// The ranges of a general category, of one letter or two; none where it is no category.
std::optional<std::string> category_ranges(std::string_view name) {
  std::array<bool, kCategoryNames.size()> wanted{};
  bool any = false;
  for (size_t i = 0; i < kCategoryNames.size(); ++i) {
    wanted[i] = kCategoryNames[i].starts_with(name) && !name.empty();
    any |= wanted[i];
  }
  if (!any) return std::nullopt;
  return ranges_of([&](char32_t c) { return wanted[static_cast<size_t>(category_of(c))]; });
}

// Made once: an expression may ask for them several times.
const std::string& word_ranges(RegexDialect dialect) {
  static const std::string ranges[2] = {
      ranges_of([](char32_t c) { return hf::is(c, hf::HfClass::regex_word); }),
      ranges_of([](char32_t c) { return hf::is(c, hf::HfClass::word); })};
  return ranges[dialect == RegexDialect::oniguruma ? 0 : 1];
}
const std::string& space_ranges() {
  static const std::string ranges = ranges_of(is_space);
  return ranges;
}
const std::string& digit_ranges() {
  static const std::string ranges =
      ranges_of([](char32_t c) { return category_of(c) == GeneralCategory::Nd; });
  return ranges;
}

// The same for what is not in the ranges, which a class inside brackets needs.
std::string without(char kind, RegexDialect dialect) {
  return ranges_of([&](char32_t c) {
    switch (kind) {
      case 'S':
        return !is_space(c);
      case 'D':
        return category_of(c) != GeneralCategory::Nd;
      default:
        return !hf::is(
            c, dialect == RegexDialect::oniguruma ? hf::HfClass::regex_word : hf::HfClass::word);
    }
  });
}

class Rewriter {
 public:
  Rewriter(std::string_view in, RegexDialect dialect) : in_(in), dialect_(dialect) {}

  std::string rewrite() {
    std::vector<size_t> groups;  // where in out_ each open group begins
    size_t atom = 0;             // where in out_ the last atom begins
    while (at_ < in_.size()) {
      const char c = in_[at_];
      if (c == '\\') {
        atom = out_.size();
        escape(false);
      } else if (c == '[') {
        atom = out_.size();
        bracket();
      } else if (c == '(') {
        groups.push_back(out_.size());
        out_ += in_[at_++];
      } else if (c == ')') {
        if (!groups.empty()) {
          atom = groups.back();
          groups.pop_back();
        }
        out_ += in_[at_++];
      } else if (c == '{' && dialect_ == RegexDialect::oniguruma) {
        interval(atom);
      } else if (c == '*' || c == '+' || c == '?' || c == '|') {
        out_ += in_[at_++];
      } else {
        atom = out_.size();
        out_ += in_[at_++];
        // The other bytes of the same character.
        while (at_ < in_.size() && (static_cast<unsigned char>(in_[at_]) & 0xC0) == 0x80) {
          out_ += in_[at_++];
        }
      }
    }
    // Behind the whole expression, where it changes the number of no group.
    if (calls_word_) out_ += concat("(?(DEFINE)(?<", kWord, ">[", word_ranges(dialect_), "]))");
    return std::move(out_);
  }

 private:
  // Oniguruma's Ruby syntax: "{1,3}+" repeats "{1,3}" and "{3}?" makes "{3}" optional, which to
  // PCRE2 would be possessive and lazy; "{,3}" begins with 0.
  void interval(size_t atom) {
    const size_t close = in_.find('}', at_);
    const std::string_view inside =
        close == std::string_view::npos ? "" : in_.substr(at_ + 1, close - at_ - 1);
    const size_t comma = inside.find(',');
    const bool is_exact = comma == std::string_view::npos;
    const bool counts = !inside.empty() && inside != "," &&
                        inside.find_first_not_of("0123456789,") == std::string_view::npos &&
                        (is_exact || inside.find(',', comma + 1) == std::string_view::npos);
    if (!counts) {
      out_ += in_[at_++];
      return;
    }
    out_ += concat("{", comma == 0 ? "0" : "", inside, "}");
    at_ = close + 1;
    if (at_ < in_.size() && (in_[at_] == '+' || (in_[at_] == '?' && is_exact))) {
      out_.insert(atom, "(?:");
      out_ += ')';
    }
  }

  // In brackets or not, the ranges of a class that is known by a letter or by \p.
  void escape(bool in_brackets) {
    const char kind = at_ + 1 < in_.size() ? in_[at_ + 1] : '\0';
    const auto put = [&](const std::string& ranges, bool negated) {
      if (in_brackets) {
        out_ += ranges;
      } else {
        out_ += concat(negated ? "[^" : "[", ranges, "]");
      }
      at_ += 2;
    };
    switch (kind) {
      case 's':
        return put(space_ranges(), false);
      case 'w':
        return put(word_ranges(dialect_), false);
      case 'd':
        return put(digit_ranges(), false);
      case 'S':
        return in_brackets ? put(without('S', dialect_), false) : put(space_ranges(), true);
      case 'W':
        return in_brackets ? put(without('W', dialect_), false) : put(word_ranges(dialect_), true);
      case 'D':
        return in_brackets ? put(without('D', dialect_), false) : put(digit_ranges(), true);
      case 'p':
      case 'P':
        return property(kind == 'P', in_brackets);
      case 'b':
      case 'B':
        if (!in_brackets) return word_boundary(kind == 'B');
        break;
      case 'v':  // to PCRE2 any vertical space
        return put("\\x{B}", false);
      case 'h':
      case 'H':
        if (dialect_ == RegexDialect::oniguruma) {
          if (in_brackets && kind == 'H') break;
          return put("0-9a-fA-F", kind == 'H');
        }
        break;
      default:
        break;
    }
    out_ += in_.substr(at_, 2);
    at_ += 2;
  }

  void property(bool negated, bool in_brackets) {
    const size_t begin = at_;
    std::string name;
    if (at_ + 2 < in_.size() && in_[at_ + 2] == '{') {
      const size_t close = in_.find('}', at_);
      if (close == std::string_view::npos) {
        throw ValueError(concat("the expression ", in_, " has \\p{ without }"));
      }
      name = std::string(in_.substr(at_ + 3, close - at_ - 3));
      at_ = close + 1;
    } else {
      name = std::string(in_.substr(at_ + 2, 1));
      at_ += 3;
    }
    if (!name.empty() && name[0] == '^') {
      negated = !negated;
      name.erase(0, 1);
    }
    const auto ranges = category_ranges(name);
    if (!ranges) {  // a script or the like: PCRE2's own, or an error of its
      out_ += in_.substr(begin, at_ - begin);
      return;
    }
    if (!in_brackets) {
      out_ += concat(negated ? "[^" : "[", *ranges, "]");
    } else if (negated) {
      out_ += ranges_of([&](char32_t c) {
        return !kCategoryNames[static_cast<size_t>(category_of(c))].starts_with(name);
      });
    } else {
      out_ += *ranges;
    }
  }

  void word_boundary(bool negated) {
    // Called, not written out: PCRE2 has room for a dozen copies of the ranges.
    calls_word_ = true;
    const std::string w = concat("(?&", kWord, ")");
    out_ += negated ? concat("(?:(?<=", w, ")(?=", w, ")|(?<!", w, ")(?!", w, "))")
                    : concat("(?:(?<=", w, ")(?!", w, ")|(?<!", w, ")(?=", w, "))");
    at_ += 2;
  }

  void bracket() {
    out_ += in_[at_++];
    if (at_ < in_.size() && in_[at_] == '^') out_ += in_[at_++];
    bool first = true;
    while (at_ < in_.size()) {
      const char c = in_[at_];
      if (c == ']' && !first) {
        out_ += in_[at_++];
        return;
      }
      if (c == '\\') {
        escape(true);
      } else if (c == '[' && at_ + 1 < in_.size() && in_[at_ + 1] == ':') {
        throw ValueError(
            concat("the expression ", in_, " has a POSIX class, which is not supported"));
      } else if ((c == '[' || in_.substr(at_, 2) == "&&") && dialect_ == RegexDialect::oniguruma) {
        throw ValueError(
            concat("the expression ", in_, " has a class inside a class, which is not supported"));
      } else {
        out_ += in_[at_++];
      }
      first = false;
    }
  }

  std::string_view in_;
  RegexDialect dialect_;
  size_t at_ = 0;
  bool calls_word_ = false;
  std::string out_;
};

}  // namespace

std::string rewrite_regex(std::string_view expression, RegexDialect dialect) {
  return Rewriter(expression, dialect).rewrite();
}

}  // namespace msltx::text
