// ExpressionReader: a regular expression in Oniguruma's syntax, read from left to right.
#pragma once

#include <string>
#include <string_view>

#include "msltx/base/error.h"

namespace msltx::text {

class ExpressionReader {
 public:
  // Valid UTF-8.
  explicit ExpressionReader(std::string_view expression) : expression_(expression) {}

  bool done() const { return at_ == expression_.size(); }
  std::string_view rest() const { return expression_.substr(at_); }
  // Of the rest, as much as a message has room for.
  std::string_view rest_shown() const { return shortened(rest()); }
  bool next_is(std::string_view text) const { return rest().starts_with(text); }
  bool next_is_any_of(std::string_view characters) const {
    return !done() && characters.find(expression_[at_]) != std::string_view::npos;
  }
  // Over `text`, where it comes next.
  bool skip(std::string_view text);
  void skip_bytes(size_t count) { at_ += count; }
  // The next character; there has to be one.
  char32_t take();
  // What comes before `end`, and over `end`; throws where it does not come.
  std::string_view take_until(std::string_view end);
  // The character that is written behind a backslash, which has been read: "n", "x{1F600}", "*".
  char32_t take_escaped();

  // Throws "the expression ... ".
  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... what) const {
    throw ValueError(concat("the expression ", shortened(expression_), " ", what...));
  }

 private:
  static std::string_view shortened(std::string_view text);
  unsigned digits(int base, int most, int least);
  char32_t code_point(std::string_view digits, int base);
  char32_t after_byte(unsigned byte);
  char32_t control();

  std::string_view expression_;
  size_t at_ = 0;
};

}  // namespace msltx::text
