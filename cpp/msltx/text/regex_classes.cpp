#include "msltx/text/regex_classes.h"

#include <array>
#include <cstdio>
#include <utility>

#include "msltx/text/hf_unicode.h"
#include "msltx/text/unicode.h"

namespace msltx::text {
namespace {

constexpr char32_t kCodePoints = 0x110000;

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

bool is_control(char32_t c) { return category_of(c) == GeneralCategory::Cc; }
bool is_digit(char32_t c) { return category_of(c) == GeneralCategory::Nd; }
bool is_graphic(char32_t c) {
  return !is_space(c) && !is_control(c) && category_of(c) != GeneralCategory::Cn;
}
bool is_punctuation_or_symbol(char32_t c) {
  const char group = kCategoryNames[static_cast<size_t>(category_of(c))][0];
  return group == 'P' || group == 'S';
}
bool is_hexadecimal(char32_t c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
// Oniguruma's \w has Latin-1's six numbers in it that are no digits, but not within brackets.
bool is_word(char32_t c, RegexDialect dialect, bool in_brackets) {
  if (dialect != RegexDialect::oniguruma) return hf::is(c, hf::HfClass::word);
  if (in_brackets && c < 0x100 && category_of(c) == GeneralCategory::No) return false;
  return hf::is(c, hf::HfClass::regex_word);
}
bool is_space_in_a_line(char32_t c) { return c == '\t' || category_of(c) == GeneralCategory::Zs; }

// Oniguruma's POSIX class of that name; nullptr where there is none.
bool (*posix_class_called(std::string_view name))(char32_t) {
  using Belongs = bool (*)(char32_t);
  static constexpr std::pair<std::string_view, Belongs> kClasses[] = {
      {"alnum", [](char32_t c) { return hf::is_alphabetic(c) || is_digit(c); }},
      {"alpha", hf::is_alphabetic},
      {"ascii", [](char32_t c) { return c < 0x80; }},
      {"blank", is_space_in_a_line},
      {"cntrl", is_control},
      {"digit", is_digit},
      {"graph", is_graphic},
      {"lower", hf::is_lowercase},
      {"print", [](char32_t c) { return is_graphic(c) || category_of(c) == GeneralCategory::Zs; }},
      {"punct", is_punctuation_or_symbol},
      {"space", is_space},
      {"upper", hf::is_uppercase},
      {"word", [](char32_t c) { return is_word(c, RegexDialect::oniguruma, true); }},
      {"xdigit", is_hexadecimal},
  };
  for (const auto& [known, belongs] : kClasses) {
    if (known == name) return belongs;
  }
  return nullptr;
}

}  // namespace

std::optional<std::string> category_ranges(std::string_view name, bool negated) {
  std::array<bool, kCategoryNames.size()> wanted{};
  bool any = false;
  for (size_t i = 0; i < kCategoryNames.size(); ++i) {
    wanted[i] = kCategoryNames[i].starts_with(name) && !name.empty();
    any |= wanted[i];
  }
  if (!any) return std::nullopt;
  return ranges_of(
      [&](char32_t c) { return wanted[static_cast<size_t>(category_of(c))] != negated; });
}

const std::string& word_ranges(RegexDialect dialect, bool in_brackets) {
  const auto made = [](RegexDialect of, bool within) {
    return ranges_of([&](char32_t c) { return is_word(c, of, within); });
  };
  static const std::string plain = made(RegexDialect::plain, false);
  static const std::string alone = made(RegexDialect::oniguruma, false);
  static const std::string within = made(RegexDialect::oniguruma, true);
  if (dialect == RegexDialect::plain) return plain;
  return in_brackets ? within : alone;
}
const std::string& space_ranges() {
  static const std::string ranges = ranges_of(is_space);
  return ranges;
}
const std::string& digit_ranges() {
  static const std::string ranges = ranges_of(is_digit);
  return ranges;
}

std::string without(char kind, RegexDialect dialect) {
  return ranges_of([&](char32_t c) {
    switch (kind) {
      case 'S':
        return !is_space(c);
      case 'D':
        return category_of(c) != GeneralCategory::Nd;
      default:
        return !is_word(c, dialect, true);
    }
  });
}

std::optional<std::string> posix_ranges(std::string_view name) {
  const bool negated = name.starts_with('^');
  const auto belongs = posix_class_called(negated ? name.substr(1) : name);
  if (!belongs) return std::nullopt;
  return ranges_of([&](char32_t c) { return belongs(c) != negated; });
}

}  // namespace msltx::text
