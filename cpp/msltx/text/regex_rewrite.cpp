// Rewrites a regular expression for PCRE2: classes become ranges of our Unicode tables, and what
// Oniguruma reads otherwise is written as PCRE2 reads it.
#include <algorithm>
#include <vector>

#include "msltx/base/error.h"
#include "msltx/text/regex.h"
#include "msltx/text/regex_classes.h"

namespace msltx::text {
namespace {

// The group that stands for a character of a word.
constexpr std::string_view kWord = "msltx_word";

class Rewriter {
 public:
  Rewriter(std::string_view in, RegexDialect dialect) : in_(in), dialect_(dialect) {}

  std::string rewrite() {
    std::vector<Group> groups;  // those that are open
    size_t atom = 0;            // where in out_ the last atom begins
    while (at_ < in_.size()) {
      const char c = in_[at_];
      if (in_.substr(at_).starts_with("(?#")) {
        comment();
      } else if (extended_ && c == '#') {
        at_ = std::min(in_.find('\n', at_), in_.size());
      } else if (extended_ && kIgnored.find(c) != std::string_view::npos) {
        out_ += in_[at_++];
      } else if (c == '\\') {
        atom = out_.size();
        escape(false);
      } else if (c == '[') {
        atom = out_.size();
        bracket();
      } else if (c == '(') {
        open(groups);
      } else if (c == ')') {
        close_branches(groups);
        if (!groups.empty()) {
          atom = groups.back().begin;
          extended_ = groups.back().extended;
          groups.pop_back();
        }
        out_ += in_[at_++];
      } else if (c == '{' && dialect_ == RegexDialect::oniguruma) {
        interval(atom);
      } else if (c == '*' || c == '+' || c == '?' || c == '|') {
        out_ += in_[at_++];
      } else {
        atom = out_.size();
        character();
      }
    }
    close_branches(groups);
    // Behind the whole expression, where it changes the number of no group.
    if (calls_word_)
      out_ += concat("(?(DEFINE)(?<", kWord, ">[", word_ranges(dialect_, false), "]))");
    return std::move(out_);
  }

 private:
  struct Group {
    size_t begin;         // in out_
    bool extended;        // what holds again behind it
    bool branch = false;  // Oniguruma's, from "(?i)" to the end of the group that it stands in
  };
  static constexpr std::string_view kIgnored = " \t\n\f\r";  // where extended_

  // All its bytes.
  void copy_character() {
    do {
      out_ += in_[at_++];
    } while (at_ < in_.size() && (static_cast<unsigned char>(in_[at_]) & 0xC0) == 0x80);
  }

  // One that stands for itself.
  void character() {
    // To PCRE2 white space to leave out, not to Oniguruma.
    static constexpr std::string_view kSpaces[] = {"\v",           "\xC2\x85",     "\xE2\x80\x8E",
                                                   "\xE2\x80\x8F", "\xE2\x80\xA8", "\xE2\x80\xA9"};
    const auto stands_here = [&](std::string_view c) { return in_.substr(at_).starts_with(c); };
    if (extended_ && dialect_ == RegexDialect::oniguruma &&
        std::any_of(std::begin(kSpaces), std::end(kSpaces), stands_here)) {
      out_ += '\\';
    }
    copy_character();
  }

  void close_branches(std::vector<Group>& groups) {
    while (!groups.empty() && groups.back().branch) {
      extended_ = groups.back().extended;
      groups.pop_back();
      out_ += ')';
    }
  }

  // "(", and the flags behind it: "(?x)" holds to the end of the group that it stands in, "(?x:" to
  // the end of the one that it opens. To Oniguruma "a(?i)b|c" is "a(?i:b|c)".
  void open(std::vector<Group>& groups) {
    const bool oniguruma = dialect_ == RegexDialect::oniguruma;
    size_t end = at_ + 1;
    bool extended = extended_;
    std::string flags;
    if (end < in_.size() && in_[end] == '?') {
      bool on = true;
      for (++end; end < in_.size() && kFlags.find(in_[end]) != std::string_view::npos; ++end) {
        const char flag = in_[end];
        if (oniguruma && kOnigurumaFlags.find(flag) == std::string_view::npos) {
          throw ValueError(
              concat("the expression ", in_, " has the flag ", flag, "; the flags are i, m and x"));
        }
        if (flag == '-') on = false;
        if (flag == '^') extended = false;
        if (flag == 'x') extended = on;
        flags += oniguruma && flag == 'm' ? 's' : flag;  // the dot takes line ends
      }
    }
    const char behind = end < in_.size() ? in_[end] : '\0';
    const bool sets_flags = !flags.empty() && (behind == ')' || behind == ':');
    if (sets_flags && behind == ')' && !oniguruma) {
      out_ += concat("(?", flags, ")");
      extended_ = extended;
    } else if (sets_flags) {
      groups.push_back({.begin = out_.size(), .extended = extended_, .branch = behind == ')'});
      out_ += concat("(?", flags, ":");
      extended_ = extended;
    } else {
      groups.push_back({.begin = out_.size(), .extended = extended_});
      out_ += in_[at_++];
      return;
    }
    at_ = end + 1;
  }
  static constexpr std::string_view kFlags = "imnsxJU-^", kOnigurumaFlags = "imx-";

  // "(?#...)", empty: what would be rewritten in it could end it.
  void comment() {
    const bool escapes = dialect_ == RegexDialect::oniguruma;
    size_t end = at_ + 3;
    while (end < in_.size() && in_[end] != ')') end += escapes && in_[end] == '\\' ? 2 : 1;
    out_ += end < in_.size() ? "(?#)" : "(?#";
    at_ = std::min(end + 1, in_.size());
  }

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
        return put(word_ranges(dialect_, in_brackets), false);
      case 'd':
        return put(digit_ranges(), false);
      case 'S':
        return in_brackets ? put(without('S', dialect_), false) : put(space_ranges(), true);
      case 'W':
        return in_brackets ? put(without('W', dialect_), false)
                           : put(word_ranges(dialect_, false), true);
      case 'D':
        return in_brackets ? put(without('D', dialect_), false) : put(digit_ranges(), true);
      case 'p':
      case 'P':
        return property(kind == 'P', in_brackets);
      case 'b':
      case 'B':
        if (!in_brackets) return word_boundary(kind == 'B');
        break;
      case 'u':  // four hexadecimal digits
        if (const auto digits = in_.substr(at_ + 2, 4);
            digits.size() == 4 &&
            digits.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos) {
          out_ += concat("\\x{", digits, "}");
          at_ += 6;
          return;
        }
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
    out_ += in_[at_++];
    if (at_ < in_.size()) copy_character();
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
    const auto ranges = category_ranges(name, negated && in_brackets);
    if (!ranges) {  // a script or the like: PCRE2's own, or an error of its
      out_ += in_.substr(begin, at_ - begin);
    } else if (in_brackets) {
      out_ += *ranges;
    } else {
      out_ += concat(negated ? "[^" : "[", *ranges, "]");
    }
  }

  // "[:alpha:]" and "[:^alpha:]" within brackets, in Oniguruma's meaning over all of Unicode.
  // PCRE2's own are of ASCII, as in the other dialect.
  void posix_class() {
    const size_t close = in_.find(":]", at_ + 2);
    if (close == std::string_view::npos) {
      throw ValueError(concat("the expression ", in_, " has [: without :]"));
    }
    const std::string_view name = in_.substr(at_ + 2, close - at_ - 2);
    if (dialect_ == RegexDialect::oniguruma) {
      const auto ranges = posix_ranges(name);
      if (!ranges) {
        throw ValueError(
            concat("the expression ", in_, " has [:", name, ":], which is no POSIX class"));
      }
      out_ += *ranges;
    } else {
      out_ += in_.substr(at_, close + 2 - at_);
    }
    at_ = close + 2;
  }

  void word_boundary(bool negated) {
    // Called, not written out: PCRE2 has room for a dozen copies of the ranges.
    calls_word_ = true;
    const std::string w = concat("(?&", kWord, ")");
    out_ += negated ? concat("(?:(?<=", w, ")(?=", w, ")|(?<!", w, ")(?!", w, "))")
                    : concat("(?:(?<=", w, ")(?!", w, ")|(?<!", w, ")(?=", w, "))");
    at_ += 2;
  }

  // What a "-" between brackets stands behind.
  enum class Before : uint8_t { nothing, character, open_range, whole_class };

  void bracket() {
    out_ += in_[at_++];
    if (at_ < in_.size() && in_[at_] == '^') out_ += in_[at_++];
    const size_t first = at_;
    // To PCRE2 "[:", "[." and "[=" are something of their own.
    if (dialect_ == RegexDialect::oniguruma && at_ < in_.size() &&
        (in_[at_] == ':' || in_[at_] == '.' || in_[at_] == '=')) {
      out_ += '\\';
    }
    Before before = Before::nothing;
    while (at_ < in_.size()) {
      const char c = in_[at_];
      if (c == ']' && at_ > first) {
        out_ += in_[at_++];
        return;
      }
      const bool posix = c == '[' && at_ + 1 < in_.size() && in_[at_ + 1] == ':';
      const bool is_class = posix || (c == '\\' && at_ + 1 < in_.size() &&
                                      kClasses.find(in_[at_ + 1]) != std::string_view::npos);
      const bool dash = c == '-' && at_ + 1 < in_.size() && in_[at_ + 1] != ']';
      if ((is_class && before == Before::open_range) || (dash && before == Before::whole_class)) {
        throw ValueError(
            concat("the expression ", in_, " has a class at an end of a range of characters"));
      }
      if (is_class) {
        before = Before::whole_class;
      } else if (dash && before == Before::character) {
        before = Before::open_range;
      } else {
        before = before == Before::open_range ? Before::nothing : Before::character;
      }
      if (posix) {
        posix_class();
      } else if (c == '\\') {
        escape(true);
      } else if ((c == '[' || in_.substr(at_, 2) == "&&") && dialect_ == RegexDialect::oniguruma) {
        throw ValueError(
            concat("the expression ", in_, " has a class inside a class, which is not supported"));
      } else {
        out_ += in_[at_++];
      }
    }
  }
  static constexpr std::string_view kClasses = "wWsSdDhHpP";

  std::string_view in_;
  RegexDialect dialect_;
  size_t at_ = 0;
  bool calls_word_ = false;
  bool extended_ = false;  // white space and comments from # on are left out
  std::string out_;
};

}  // namespace

std::string rewrite_regex(std::string_view expression, RegexDialect dialect) {
  return Rewriter(expression, dialect).rewrite();
}

}  // namespace msltx::text
