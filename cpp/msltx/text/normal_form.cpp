#include "msltx/text/normal_form.h"

#include <utf8proc.h>

#include <array>
#include <limits>
#include <vector>

#include "msltx/base/error.h"

namespace msltx::text {
namespace {

constexpr std::array<std::string_view, 5> kNames{"none", "nfc", "nfd", "nfkc", "nfkd"};

utf8proc_option_t options_of(NormalForm form) {
  int options = UTF8PROC_STABLE;
  if (form == NormalForm::nfc || form == NormalForm::nfkc) options |= UTF8PROC_COMPOSE;
  if (form == NormalForm::nfd || form == NormalForm::nfkd) options |= UTF8PROC_DECOMPOSE;
  if (form == NormalForm::nfkc || form == NormalForm::nfkd) options |= UTF8PROC_COMPAT;
  return static_cast<utf8proc_option_t>(options);
}

bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }

// Appends the form of one stretch of text; `points` is kept between calls.
void append_normalized(std::string_view text, utf8proc_option_t options,
                       std::vector<utf8proc_int32_t>& points, std::string& out) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  const auto size = static_cast<utf8proc_ssize_t>(text.size());
  points.resize(std::max(points.size(), text.size() + 1));
  auto room = static_cast<utf8proc_ssize_t>(points.size());
  utf8proc_ssize_t n = utf8proc_decompose(bytes, size, points.data(), room, options);
  if (n >= room) {  // it says how many there are; reencode needs one more
    points.resize(static_cast<size_t>(n) + 1);
    room = static_cast<utf8proc_ssize_t>(points.size());
    n = utf8proc_decompose(bytes, size, points.data(), room, options);
  }
  if (n < 0) throw ValueError(concat("text cannot be normalized: ", utf8proc_errmsg(n)));
  n = utf8proc_reencode(points.data(), n, options);
  if (n < 0) throw ValueError(concat("text cannot be normalized: ", utf8proc_errmsg(n)));
  out.append(reinterpret_cast<const char*>(points.data()), static_cast<size_t>(n));
}

}  // namespace

NormalForm normal_form_from_name(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<NormalForm>(i);
  }
  throw ValueError(
      concat("normalize_unicode is ", name, "; it takes none, nfc, nfd, nfkc or nfkd"));
}

std::string_view name_of(NormalForm form) { return kNames[static_cast<size_t>(form)]; }

// ASCII characters are the same in every form. Only the last one of a run can be changed, by a mark
// that follows it, so it goes with what is not ASCII.
std::string normalize(std::string_view text, NormalForm form) {
  std::string out;
  if (form == NormalForm::none) return std::string(text);
  out.reserve(text.size());
  const utf8proc_option_t options = options_of(form);
  std::vector<utf8proc_int32_t> points;
  size_t at = 0;
  while (at < text.size()) {
    size_t other = at;
    while (other < text.size() && is_ascii(text[other])) ++other;
    const size_t begin = other > at && other < text.size() ? other - 1 : other;
    out += text.substr(at, begin - at);
    size_t end = other;
    while (end < text.size() && !is_ascii(text[end])) ++end;
    if (end > begin) append_normalized(text.substr(begin, end - begin), options, points, out);
    at = end;
  }
  return out;
}

std::string normal_form_version() { return utf8proc_unicode_version(); }

}  // namespace msltx::text
