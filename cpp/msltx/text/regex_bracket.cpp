#include "msltx/text/regex_bracket.h"

#include <cstdint>
#include <optional>

#include "msltx/text/regex_classes.h"

namespace msltx::text {
namespace {

constexpr int kDeepest = 50;  // classes inside classes

class BracketReader {
 public:
  BracketReader(ExpressionReader& in, int depth) : in_(in), depth_(depth) {}

  Bracket take() {
    if (depth_ > kDeepest) in_.refuse("has more than ", kDeepest, " classes inside each other");
    const bool others = in_.skip("^");
    if (in_.next_is("]")) {
      if (in_.rest().find(']', 1) == std::string_view::npos) in_.refuse("has empty brackets");
      add(in_.take());
    }
    while (!in_.skip("]")) {
      if (in_.done()) in_.refuse("has a [ without ]");
      if (!in_.next_is("-]") && in_.next_is("-")) {
        dash();
      } else if (in_.next_is("[")) {
        bracket();
      } else if (in_.skip("&&")) {
        both();
      } else if (in_.skip("\\")) {
        CodePoints members;
        if (take_class(in_, true, members)) {
          add(members, Last::known_class);
        } else {
          add(in_.take_escaped());
        }
      } else {
        add(in_.take());
      }
    }
    both();
    return {*so_far_, others};
  }

 private:
  // What a "-" stands behind.
  enum class Last : uint8_t {
    nothing,
    character,
    open_range,
    range,
    dash_after_range,
    known_class,
    bracket,
  };

  void add(char32_t c) {
    if (last_ != Last::open_range) {
      part_ |= CodePoints(c, c);
      from_ = c;
      last_ = Last::character;
      return;
    }
    if (from_ > c) in_.refuse("has a range of characters whose end comes before its beginning");
    part_ |= CodePoints(from_, c);
    last_ = Last::range;
  }

  void add(const CodePoints& members, Last kind) {
    if (last_ == Last::open_range) in_.refuse(kClassInRange);
    part_ |= members;
    last_ = kind;
  }

  void dash() {
    if (last_ == Last::known_class) in_.refuse(kClassInRange);
    if (last_ == Last::dash_after_range) in_.refuse("has two - behind a range of characters");
    const Last before = last_;
    in_.skip("-");
    if (before == Last::character) {
      last_ = Last::open_range;
    } else {
      add(U'-');  // the end of a range, or itself
      if (before == Last::range) last_ = Last::dash_after_range;
    }
  }

  // "[:alpha:]", "[:^alpha:]", or a class in the class.
  void bracket() {
    in_.skip("[");
    const std::string_view rest = in_.rest();
    const size_t close = rest.find(']');
    if (rest.starts_with(':') && close != std::string_view::npos && close > 1 &&
        rest[close - 1] == ':') {
      std::string_view name = rest.substr(1, close - 2);
      const bool others = name.starts_with('^');
      if (others) name.remove_prefix(1);
      const CodePoints* const members = posix_class_called(name);
      if (!members) in_.refuse("has [:", name, ":], which is no POSIX class");
      in_.skip_bytes(close + 1);
      return add(others ? ~*members : *members, Last::known_class);
    }
    const Bracket inner = take_bracket(in_, depth_ + 1);
    add(inner.others ? ~inner.members : inner.members, Last::bracket);
  }

  // What has been read so far and what comes behind "&&".
  void both() {
    if (last_ == Last::open_range) in_.refuse(kClassInRange);
    so_far_ = so_far_ ? *so_far_ & part_ : part_;
    part_ = CodePoints();
    last_ = Last::nothing;
  }

  static constexpr std::string_view kClassInRange =
      "has a class at an end of a range of characters";

  ExpressionReader& in_;
  int depth_;
  std::optional<CodePoints> so_far_;
  CodePoints part_;  // since the last "&&"
  Last last_ = Last::nothing;
  char32_t from_ = 0;  // where a range would begin
};

// Behind "\p{" or "\P{".
CodePoints take_property(ExpressionReader& in, bool in_brackets) {
  std::string_view name = in.take_until("}");
  const bool others = name.starts_with('^');
  if (others) name.remove_prefix(1);
  const CodePoints* const members = property_called(name, in_brackets);
  if (!members) in.refuse("has \\p{", name, "}, which is not known");
  return others ? ~*members : *members;
}

}  // namespace

Bracket take_bracket(ExpressionReader& in, int depth) { return BracketReader(in, depth).take(); }

bool take_class(ExpressionReader& in, bool in_brackets, CodePoints& members) {
  const bool others = in.next_is_any_of("PWSDH");
  if (in.skip("p{") || in.skip("P{")) {
    members = take_property(in, in_brackets);
  } else if (in.skip("w") || in.skip("W")) {
    members = word_characters(in_brackets);
  } else if (in.skip("s") || in.skip("S")) {
    members = space_characters();
  } else if (in.skip("d") || in.skip("D")) {
    members = digit_characters();
  } else if (in.skip("h") || in.skip("H")) {
    members = hexadecimal_characters();
  } else {
    return false;
  }
  if (others) members = ~members;
  return true;
}

}  // namespace msltx::text
