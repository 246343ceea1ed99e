// Rewrites a regular expression in Oniguruma's syntax for PCRE2: every construct is read, classes
// become ranges of our Unicode tables, and what is not known is refused rather than handed on.
// Syntax: Oniguruma 6.9's doc/RE. No flags but (?i: and (?s: come out, and no names of groups.
#include <algorithm>
#include <optional>
#include <utility>

#include "msltx/text/regex.h"
#include "msltx/text/regex_bracket.h"
#include "msltx/text/regex_classes.h"
#include "msltx/text/regex_groups.h"
#include "msltx/text/regex_literals.h"
#include "msltx/text/regex_reader.h"
#include "msltx/text/utf8.h"

namespace msltx::text {
namespace {

constexpr int kDeepest = 100;  // groups inside each other: PCRE2 takes 250 of what comes out
constexpr int kMostRepeatsOfRepeats = 20;         // "a{2}{3}" has two
constexpr unsigned kMostRepeats = 65'535;         // PCRE2's
constexpr std::string_view kWord = "msltx_word";  // the group that stands for a word's character
constexpr std::string_view kAnything = "[\\x{0}-\\x{10FFFF}]";

class Rewriter {
 public:
  Rewriter(std::string_view expression, const RegexGroups* known)
      : in_(expression), groups_(in_, known) {}

  std::string rewrite() {
    std::string out = alternatives().text;
    if (!in_.done()) in_.refuse("has a ) without (");
    groups_.check();
    // Behind the whole expression, where it changes the number of no group.
    if (asks_for_words_) {
      out += concat("(?(DEFINE)(?<", kWord, ">", word_characters(false).pattern(), "))");
    }
    return concat("(*LF)", mistaken_by_jit_ ? "(*NO_JIT)" : "", out);
  }

  const RegexGroups& groups() const { return groups_; }

 private:
  struct Flags {
    bool ignore_case = false, dot_takes_all = false, extended = false;
  };
  // A piece of what comes out.
  struct Part {
    std::string text;
    bool may_be_empty = false;
    bool asserts = false;  // has a place between characters in it
    bool may_repeat = true;
  };

  static Part place(std::string text) { return {std::move(text), true, true, false}; }

  Part alternatives() {
    if (++depth_ > kDeepest) in_.refuse("has more than ", kDeepest, " groups inside each other");
    const Flags outside = flags_;
    Part all = branch();
    while (in_.skip("|")) {
      const Part other = branch();
      all.text += concat("|", other.text);
      all.may_be_empty |= other.may_be_empty;
      all.asserts |= other.asserts;
    }
    flags_ = outside;
    --depth_;
    return all;
  }

  Part branch() {
    Part all{"", true};
    const auto add = [&](const Part& part) {
      all.text += part.text;
      all.may_be_empty &= part.may_be_empty;
      all.asserts |= part.asserts;
    };
    std::u32string literals;  // that follow each other: ignoring case looks at them together
    const auto flush = [&] {
      if (!literals.empty()) add({text_of(std::exchange(literals, {}))});
    };
    while (skip_ignored(), !in_.done() && !in_.next_is_any_of("|)")) {
      if (const std::optional<char32_t> c = take_literal()) {
        if (repeat_follows()) {
          flush();
          add(repeated({text_of({*c})}));
        } else {
          literals += *c;
        }
        continue;
      }
      if (take_literal_group(literals, depth_)) continue;
      flush();
      if (take_flags()) {  // to the end of the group that they stand in: "a(?i)b|c" is "a(?i:b|c)"
        Part rest = alternatives();
        rest.text = concat("(?:", rest.text, ")");
        add(rest);
        break;
      }
      add(repeated(take_atom()));
    }
    flush();
    return all;
  }

  std::string text_of(const std::u32string& literals) const {
    return flags_.ignore_case ? ignoring_case(literals, in_lookbehind_) : literal(literals);
  }

  void skip_ignored() {
    for (;;) {
      if (in_.skip("(?#")) {
        while (!in_.skip(")")) {
          if (in_.done()) in_.refuse("has a comment without an end");
          if (in_.take() == '\\' && !in_.done()) in_.take();
        }
      } else if (flags_.extended && in_.next_is_any_of(" \t\n\f\r")) {
        in_.take();
      } else if (flags_.extended && in_.next_is("#")) {
        while (!in_.done() && in_.take() != '\n') {
        }
      } else if (!in_.skip("{1}") && !in_.skip("{1,1}")) {  // which change nothing
        return;
      }
    }
  }

  // The next character, where it stands for itself.
  std::optional<char32_t> take_literal() {
    if (in_.next_is("\\")) return take_escaped_literal();
    if (in_.next_is_any_of("[(.^$") || repeat_follows()) return std::nullopt;
    return in_.take();
  }

  // "(?:ab)" that nothing repeats, whose letters belong with those around it.
  bool take_literal_group(std::u32string& literals, int depth) {
    const ExpressionReader before = in_;
    std::u32string inside;
    const bool taken = flags_.ignore_case && depth < kDeepest && in_.skip("(?:") &&
                       take_literals_up_to_the_end(inside, depth + 1) && !inside.empty() &&
                       !repeat_follows();
    if (taken) {
      literals += inside;
    } else {
      in_ = before;
    }
    return taken;
  }

  bool take_literals_up_to_the_end(std::u32string& literals, int depth) {
    while (skip_ignored(), !in_.skip(")")) {
      if (take_literal_group(literals, depth)) continue;
      if (in_.done() || in_.next_is("|")) return false;
      const std::optional<char32_t> c = take_literal();
      if (!c || repeat_follows()) return false;
      literals += *c;
    }
    return true;
  }

  std::optional<char32_t> take_escaped_literal() {
    static constexpr std::string_view kNoLiterals = "wWsSdDhHRXNObBAZzGKkgyY";
    ExpressionReader behind = in_;
    behind.skip("\\");
    const bool is_class = behind.next_is("p{") || behind.next_is("P{");
    if (is_class || behind.next_is_any_of(kNoLiterals) || refers_back(behind)) return std::nullopt;
    in_.skip("\\");
    return in_.take_escaped();
  }

  // "\1": a number up to 9 always refers to a group, a larger one to a group that there is.
  bool refers_back(ExpressionReader in) const {
    if (!in.next_is_any_of("123456789")) return false;
    int number = 0;
    for (int digits = 0; digits < 4 && in.next_is_any_of("0123456789"); ++digits) {
      number = 10 * number + static_cast<int>(in.take() - '0');
    }
    return number <= 9 || number <= groups_.count();
  }

  Part take_atom() {
    if (in_.next_is("\\")) return take_escape();
    if (in_.skip("[")) {
      const Bracket bracket = take_bracket(in_);
      if (!flags_.ignore_case) return {bracket.members.pattern(bracket.others)};
      return {ignoring_case(bracket.members, bracket.others)};
    }
    if (in_.next_is("(")) return take_group();
    if (in_.skip(".")) return {std::string(flags_.dot_takes_all ? kAnything : "[^\\n]")};
    if (in_.skip("^")) return place("^");
    if (in_.skip("$")) return place("$");
    in_.refuse("repeats nothing at ", in_.rest_shown());
  }

  Part take_escape() {
    in_.skip("\\");
    CodePoints members;
    if (take_class(in_, false, members)) return {members.pattern()};
    if (in_.next_is_any_of("123456789")) return back_reference(std::string(take_digits()));
    switch (const char32_t kind = in_.take()) {
      case 'b':
      case 'B':
        return place(word_boundary(kind == 'B'));
      case 'A':
      case 'Z':
      case 'z':
      case 'G':
      case 'K':
        return place(concat("\\", static_cast<char>(kind)));
      case 'R':
        return {"\\R"};
      case 'N':
        return {"[^\\n]"};
      case 'O':
        return {std::string(kAnything)};
      case 'k':
        return back_reference(take_name());
      case 'g':
        return {concat("(?", groups_.call(take_name()), ")"), true, true};
      default:
        in_.refuse("has \\", static_cast<char>(kind), ", which is not supported");
    }
  }

  std::string_view take_digits() {
    const std::string_view rest = in_.rest();
    const size_t end = std::min(rest.find_first_not_of("0123456789"), rest.size());
    in_.skip_bytes(end);
    return rest.substr(0, end);
  }

  // "<name>" or "'name'".
  std::string take_name() {
    if (in_.skip("<")) return std::string(in_.take_until(">"));
    if (in_.skip("'")) return std::string(in_.take_until("'"));
    in_.refuse("has \\k or \\g without <");
  }

  Part back_reference(const std::string& name) {
    // Oniguruma compares as many bytes, PCRE2 as many characters.
    if (flags_.ignore_case) in_.refuse("refers to a group ignoring case, which is not supported");
    return {concat("\\g{", groups_.refer(name), "}"), true};
  }

  std::string word_boundary(bool negated) {
    // Called, not written out: PCRE2 has room for a dozen copies of the ranges.
    asks_for_words_ = true;
    const std::string w = concat("(?&", kWord, ")");
    return negated ? concat("(?:(?<=", w, ")(?=", w, ")|(?<!", w, ")(?!", w, "))")
                   : concat("(?:(?<=", w, ")(?!", w, ")|(?<!", w, ")(?=", w, "))");
  }

  Part take_group() {
    for (const char* begin : {"(?<=", "(?<!"}) {
      if (!in_.skip(begin)) continue;
      const bool outside = std::exchange(in_lookbehind_, true);
      const Part inside = group(begin);
      in_lookbehind_ = outside;
      return place(inside.text);
    }
    for (const char* begin : {"(?=", "(?!"}) {
      if (in_.skip(begin)) return place(group(begin).text);
    }
    if (in_.skip("(?:")) return group("(?:");
    if (in_.skip("(?>")) {
      mistaken_by_jit_ = true;
      return group("(?>");
    }
    if (in_.skip("(?<")) return named_group(in_.take_until(">"));
    if (in_.skip("(?'")) return named_group(in_.take_until("'"));
    if (in_.next_is("(?") || in_.next_is("(*")) {
      const Flags outside = flags_;
      if (!take_flags(':')) {
        in_.refuse("has a group that is not supported, at ", in_.rest_shown());
      }
      Part inside = group("(?:");
      flags_ = outside;
      return inside;
    }
    in_.skip("(");
    Part inside = group(groups_.open() ? "(" : "(?:");
    groups_.close();
    return inside;
  }

  Part group(std::string_view begin) {
    Part inside = alternatives();
    if (!in_.skip(")")) in_.refuse("has a ( without )");
    inside.text = concat(begin, inside.text, ")");
    return inside;
  }

  Part named_group(std::string_view name) {
    groups_.open(name);
    Part inside = group("(");
    groups_.close();
    return inside;
  }

  // "(?im-x)", or "(?im-x:" where `end` is ":". To Ruby, "m" lets the dot take line ends.
  bool take_flags(char end = ')') {
    ExpressionReader in = in_;
    if (!in.skip("(?")) return false;
    Flags flags = flags_;
    bool on = true;
    while (in.next_is_any_of("imx-")) {
      const char32_t flag = in.take();
      if (flag == '-') on = false;
      if (flag == 'i') flags.ignore_case = on;
      if (flag == 'm') flags.dot_takes_all = on;
      if (flag == 'x') flags.extended = on;
    }
    if (!in.skip(std::string_view(&end, 1))) return false;
    in_ = in;
    flags_ = flags;
    return true;
  }

  struct Repeat {
    unsigned least, most;
    bool endless = false;
    bool interval = false;  // "{...}"
  };

  bool repeat_follows() {
    const ExpressionReader in = in_;
    skip_ignored();
    const bool follows = take_repeat().has_value();
    in_ = in;
    return follows;
  }

  std::optional<Repeat> take_repeat() {
    if (in_.skip("*")) return Repeat{0, 0, true};
    if (in_.skip("+")) return Repeat{1, 1, true};
    if (in_.skip("?")) return Repeat{0, 1};
    if (!in_.next_is("{")) return std::nullopt;
    const ExpressionReader before = in_;
    in_.skip("{");
    const std::string_view least = take_digits();
    const bool comma = in_.skip(",");
    const std::string_view most = comma ? take_digits() : least;
    if (!in_.skip("}") || (least.empty() && most.empty())) {  // the bracket stands for itself
      in_ = before;
      return std::nullopt;
    }
    return Repeat{count(least), count(most), most.empty(), true};
  }

  unsigned count(std::string_view digits) const {
    if (digits.size() > 5 || (!digits.empty() && std::stoul(std::string(digits)) > kMostRepeats)) {
      in_.refuse("repeats something ", digits, " times; the limit is ", kMostRepeats);
    }
    return digits.empty() ? 0 : static_cast<unsigned>(std::stoul(std::string(digits)));
  }

  // The part with what repeats it, which may be repeated again.
  Part repeated(Part part) {
    int times = 0;
    for (skip_ignored(); const auto repeat = take_repeat(); skip_ignored()) {
      if (!part.may_repeat) {
        in_.refuse("repeats a place between characters before ", in_.rest_shown());
      }
      if (++times > kMostRepeatsOfRepeats) {
        in_.refuse("repeats a repeat more than ", kMostRepeatsOfRepeats, " times");
      }
      // Oniguruma ends such a loop at its first empty round.
      if (repeat->least > 1 && part.may_be_empty && part.asserts) {
        in_.refuse("repeats something that may be empty before ", in_.rest_shown(),
                   ", which is not supported");
      }
      if (times > 1) part.text = concat("(?:", part.text, ")");
      const bool is_group = part.text.starts_with('(');
      const std::string suffix = how_often(*repeat);
      if (is_group && suffix.size() > 1 && suffix.ends_with('+')) mistaken_by_jit_ = true;
      part.text += suffix;
      part.may_be_empty |= repeat->least == 0 || (!repeat->endless && repeat->most == 0);
    }
    return part;
  }

  // "{1,3}+" repeats "{1,3}", and "{3}?" makes "{3}" optional, which to PCRE2 would be possessive
  // and lazy. "{3,1}" is "{1,3}", possessive.
  std::string how_often(const Repeat& repeat) {
    if (!repeat.interval) {
      const std::string text = repeat.endless ? (repeat.least == 0 ? "*" : "+") : "?";
      if (in_.skip("?")) return text + "?";
      return in_.skip("+") ? text + "+" : text;
    }
    if (repeat.endless) return concat("{", repeat.least, ",}", in_.skip("?") ? "?" : "");
    if (repeat.least > repeat.most) return concat("{", repeat.most, ",", repeat.least, "}+");
    if (repeat.least == repeat.most) return concat("{", repeat.least, "}");
    return concat("{", repeat.least, ",", repeat.most, "}", in_.skip("?") ? "?" : "");
  }

  ExpressionReader in_;
  RegexGroups groups_;
  Flags flags_;
  bool in_lookbehind_ = false;
  bool asks_for_words_ = false;
  // PCRE2 10.42's compiler for machines misses matches of atomic and possessive groups, "(?>a+?)b".
  bool mistaken_by_jit_ = false;
  int depth_ = 0;
};

}  // namespace

std::string rewrite_regex(std::string_view expression) {
  if (const size_t bad = find_invalid_utf8(expression); bad != kValid) {
    throw ValueError(concat("the expression has ", describe_invalid_utf8(expression, bad)));
  }
  Rewriter first(expression, nullptr);
  first.rewrite();
  return Rewriter(expression, &first.groups()).rewrite();
}

}  // namespace msltx::text
