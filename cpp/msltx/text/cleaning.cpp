#include "msltx/text/cleaning.h"

#include "msltx/text/general_category.h"
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

// `text` without the characters for which gone(c) is true.
template <class Gone>
std::string without(std::string_view text, Gone gone) {
  std::string out;
  out.reserve(text.size());
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p < end) {
    const char* const begin = p;
    if (!gone(decode_utf8(p))) out.append(begin, p);
  }
  return out;
}

std::string without_accents(std::string_view text, NormalForm form) {
  const std::string apart = normalize(text, NormalForm::nfd);
  std::string base = without(apart, [](char32_t c) {
    return c >= 0x80 && category_of(c) == GeneralCategory::Mn;  // no mark is ASCII
  });
  const bool stays_apart = form == NormalForm::nfd || form == NormalForm::nfkd;
  return stays_apart ? base : normalize(base, NormalForm::nfc);
}

std::string in_lowercase(std::string_view text) {
  std::string lower;
  append_lowercase(text, lower);
  return lower;
}

bool is_control(char32_t c) {
  return c < 0xA0 && category_of(c) == GeneralCategory::Cc && !is_space(c);
}

}  // namespace

std::string clean(std::string_view text, const Cleaning& cleaning) {
  std::string out(text);
  if (cleaning.control) out = without(out, is_control);
  out = normalize(out, cleaning.form);
  if (cleaning.accents) out = without_accents(out, cleaning.form);
  if (cleaning.lowercase) out = in_lowercase(out);
  if (cleaning.punctuation) {
    out = without(out, [](char32_t c) { return is_punctuation(category_of(c)); });
  }
  // A character that became two, or neighbours that have met, may not be in the form any more.
  if (cleaning.accents || cleaning.lowercase || cleaning.punctuation) {
    out = normalize(out, cleaning.form);
  }
  if (cleaning.whitespace) out = normalize_whitespace(out);
  return out;
}

std::vector<CleaningStep> steps_of(const Cleaning& cleaning) {
  std::vector<CleaningStep> steps;
  if (cleaning.control) steps.push_back({"remove_control", {.control = true}});
  if (cleaning.form != NormalForm::none) {
    steps.push_back({"normalize_unicode", {.form = cleaning.form}});
  }
  if (cleaning.accents) {
    steps.push_back({"strip_accents", {.form = cleaning.form, .accents = true}});
  }
  if (cleaning.lowercase) steps.push_back({"lowercase", {.lowercase = true}});
  if (cleaning.punctuation) steps.push_back({"remove_punctuation", {.punctuation = true}});
  if (cleaning.whitespace) steps.push_back({"normalize_whitespace", {.whitespace = true}});
  return steps;
}

}  // namespace msltx::text
