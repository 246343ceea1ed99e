#include "msltx/text/cleaning.h"

#include "msltx/text/unicode.h"
#include "msltx/text/utf8.h"

namespace msltx::text {
namespace {

std::string normalize_whitespace(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  const char* p = text.data();
  const char* const end = p + text.size();
  bool line_has_text = false;
  bool space_pending = false;
  while (p < end) {
    const char* const begin = p;
    const char32_t c = decode_utf8(p);
    if (c == '\n' || c == '\r') {
      if (c == '\r' && p < end && *p == '\n') ++p;
      out.push_back('\n');
      line_has_text = space_pending = false;
    } else if (is_space(c)) {
      space_pending = line_has_text;
    } else {
      if (space_pending) out.push_back(' ');
      out.append(begin, p);
      line_has_text = true;
      space_pending = false;
    }
  }
  return out;
}

}  // namespace

std::string clean(std::string_view text, const Cleaning& cleaning) {
  std::string out = cleaning.whitespace ? normalize_whitespace(text) : std::string(text);
  if (!cleaning.lowercase) return out;
  std::string lower;
  append_lowercase(out, lower);
  return lower;
}

}  // namespace msltx::text
