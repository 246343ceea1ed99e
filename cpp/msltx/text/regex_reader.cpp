#include "msltx/text/regex_reader.h"

#include <charconv>

#include "msltx/text/utf8.h"

namespace msltx::text {

std::string_view ExpressionReader::shortened(std::string_view text) {
  constexpr size_t kLongest = 300;
  if (text.size() <= kLongest) return text;
  text = text.substr(0, kLongest);
  return text.substr(0, text.size() - incomplete_utf8_tail(text));
}

bool ExpressionReader::skip(std::string_view text) {
  if (!next_is(text)) return false;
  at_ += text.size();
  return true;
}

char32_t ExpressionReader::take() {
  const char* p = expression_.data() + at_;
  const char32_t c = decode_utf8(p);
  at_ = static_cast<size_t>(p - expression_.data());
  return c;
}

std::string_view ExpressionReader::take_until(std::string_view end) {
  const std::string_view all = rest();
  const size_t length = all.find(end);
  if (length == std::string_view::npos) refuse("has no ", end, " at ", shortened(all));
  at_ += length + end.size();
  return all.substr(0, length);
}

char32_t ExpressionReader::take_escaped() {
  if (done()) refuse("ends with a backslash");
  if (next_is_any_of("01234567")) {
    const unsigned value = digits(8, 3, 1);
    return value < 0x80 ? value : after_byte(value);
  }
  const char32_t c = take();
  switch (c) {
    case 'a':
      return '\a';
    case 'b':
      return '\b';
    case 'e':
      return 0x1B;
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'v':
      return '\v';
    case 'x': {
      if (skip("{")) return code_point(take_until("}"), 16);
      const unsigned value = digits(16, 2, 1);
      return value < 0x80 ? value : after_byte(value);
    }
    case 'o':
      return skip("{") ? code_point(take_until("}"), 8) : c;
    case 'u':
      if (rest().size() < 4) refuse("has \\u without four digits");
      skip_bytes(4);
      return code_point(expression_.substr(at_ - 4, 4), 16);
    case 'C':
      if (!skip("-")) refuse("has \\C, which is not supported");
      return control();
    case 'c':
      return control();
    case 'M':
      refuse("has \\M, which is not supported");
    default:
      return c;
  }
}

// At least `least` and at most `most` digits.
unsigned ExpressionReader::digits(int base, int most, int least) {
  unsigned value = 0;
  const std::string_view text = rest().substr(0, static_cast<size_t>(most));
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (end - text.data() < least) refuse("has too few digits before ", rest_shown());
  at_ += static_cast<size_t>(end - text.data());
  return value;
}

char32_t ExpressionReader::code_point(std::string_view digits, int base) {
  unsigned value = 0;
  const char* const end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, value, base);
  const bool wrong = error != std::errc() || stop != end || value > 0x10FFFF ||
                     (value >= 0xD800 && value < 0xE000);
  if (wrong) refuse("has a number of a character that there is not");
  return value;
}

// "\xHH" and "\OOO" are bytes, of which several make a character.
char32_t ExpressionReader::after_byte(unsigned byte) {
  std::string bytes(1, static_cast<char>(byte));
  const size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
  while (byte <= 0xFF && bytes.size() < length) {
    if (!skip("\\")) break;
    byte = skip("x") ? digits(16, 2, 2) : digits(8, 3, 3);
    bytes += static_cast<char>(byte);
  }
  if (byte > 0xFF || bytes.size() < length || find_invalid_utf8(bytes) != kValid) {
    refuse("has bytes that are no character before ", rest_shown());
  }
  const char* p = bytes.data();
  return decode_utf8(p);
}

char32_t ExpressionReader::control() {
  if (done() || next_is("\\") || static_cast<unsigned char>(rest()[0]) >= 0x80) {
    refuse("has \\c without an ASCII character");
  }
  const char32_t c = take();
  return c == '?' ? 0x7F : c & 0x1F;
}

}  // namespace msltx::text
