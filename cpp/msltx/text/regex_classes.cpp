#include "msltx/text/regex_classes.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "msltx/base/error.h"
#include "msltx/text/general_category.h"
#include "msltx/text/hf_unicode.h"
#include "msltx/text/regex_properties.h"

namespace msltx::text {
namespace {

using Belongs = bool (*)(char32_t);

// Made once: it takes a look at every code point.
const CodePoints& remembered(const std::string& name,
                             const std::function<bool(char32_t)>& belongs) {
  static std::mutex mutex;
  static std::map<std::string, CodePoints> known;
  const std::lock_guard lock(mutex);
  const auto found = known.find(name);
  return found != known.end() ? found->second
                              : known.emplace(name, CodePoints::where(belongs)).first->second;
}

bool is_control(char32_t c) { return category_of(c) == GeneralCategory::Cc; }
bool is_digit(char32_t c) { return category_of(c) == GeneralCategory::Nd; }
bool is_blank(char32_t c) { return c == '\t' || category_of(c) == GeneralCategory::Zs; }
bool is_alphanumeric(char32_t c) { return hf::is_alphabetic(c) || is_digit(c); }
bool is_ascii(char32_t c) { return c < 0x80; }
bool is_graphic(char32_t c) {
  return !is_space(c) && !is_control(c) && category_of(c) != GeneralCategory::Cn;
}
bool is_printed(char32_t c) { return is_graphic(c) || category_of(c) == GeneralCategory::Zs; }
bool is_punctuation_or_symbol(char32_t c) {
  const char group = name_of(category_of(c))[0];
  return group == 'P' || group == 'S';
}
bool is_hexadecimal(char32_t c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
bool is_word(char32_t c) { return hf::is(c, hf::HfClass::regex_word); }
bool is_word_in_brackets(char32_t c) {
  return is_word(c) && (c >= 0x100 || category_of(c) != GeneralCategory::No);
}

// In the order of their names.
constexpr std::pair<std::string_view, Belongs> kPosixClasses[] = {
    {"alnum", is_alphanumeric},    {"alpha", hf::is_alphabetic},
    {"ascii", is_ascii},           {"blank", is_blank},
    {"cntrl", is_control},         {"digit", is_digit},
    {"graph", is_graphic},         {"lower", hf::is_lowercase},
    {"print", is_printed},         {"punct", is_punctuation_or_symbol},
    {"space", is_space},           {"upper", hf::is_uppercase},
    {"word", is_word_in_brackets}, {"xdigit", is_hexadecimal},
};

// Names that \p takes for others: of POSIX classes, or of categories by their first letters.
constexpr std::pair<std::string_view, std::string_view> kOtherNames[] = {
    {"alphabetic", "alpha"},
    {"lowercase", "lower"},
    {"uppercase", "upper"},
    {"whitespace", "space"},
    {"punct", "P"},
    {"letter", "L"},
    {"uppercaseletter", "Lu"},
    {"lowercaseletter", "Ll"},
    {"titlecaseletter", "Lt"},
    {"modifierletter", "Lm"},
    {"otherletter", "Lo"},
    {"mark", "M"},
    {"combiningmark", "M"},
    {"nonspacingmark", "Mn"},
    {"spacingmark", "Mc"},
    {"enclosingmark", "Me"},
    {"number", "N"},
    {"decimalnumber", "Nd"},
    {"letternumber", "Nl"},
    {"othernumber", "No"},
    {"punctuation", "P"},
    {"connectorpunctuation", "Pc"},
    {"dashpunctuation", "Pd"},
    {"openpunctuation", "Ps"},
    {"closepunctuation", "Pe"},
    {"initialpunctuation", "Pi"},
    {"finalpunctuation", "Pf"},
    {"otherpunctuation", "Po"},
    {"symbol", "S"},
    {"mathsymbol", "Sm"},
    {"currencysymbol", "Sc"},
    {"modifiersymbol", "Sk"},
    {"othersymbol", "So"},
    {"separator", "Z"},
    {"spaceseparator", "Zs"},
    {"lineseparator", "Zl"},
    {"paragraphseparator", "Zp"},
    {"other", "C"},
    {"control", "Cc"},
    {"format", "Cf"},
    {"surrogate", "Cs"},
    {"privateuse", "Co"},
    {"unassigned", "Cn"},
};

// As property names are compared.
std::string key_of(std::string_view name) {
  std::string key;
  for (const char c : name) {
    if (c == ' ' || c == '_' || c == '-') continue;
    key += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return key;
}

// Of categories by their first letter or both; null where there are none.
const CodePoints* category_called(std::string_view key) {
  if (key.empty() || key.size() > 2) return nullptr;
  std::string prefix(key);
  if (prefix[0] >= 'a' && prefix[0] <= 'z') prefix[0] = static_cast<char>(prefix[0] - 'a' + 'A');
  bool any = false;
  for (int i = 0; i < kGeneralCategories; ++i) {
    any |= name_of(static_cast<GeneralCategory>(i)).starts_with(prefix);
  }
  if (!any) return nullptr;
  return &remembered(prefix,
                     [&](char32_t c) { return name_of(category_of(c)).starts_with(prefix); });
}

const CodePoints* table_property_called(std::string_view key) {
  const RegexProperty* const end = kProperties + kPropertyCount;
  const RegexProperty* const found = std::lower_bound(
      kProperties, end, key, [](const RegexProperty& p, std::string_view k) { return p.name < k; });
  if (found == end || found->name != key) return nullptr;
  static std::mutex mutex;
  static std::map<const RegexProperty*, CodePoints> known;
  const std::lock_guard lock(mutex);
  if (!known.contains(found)) {
    known.emplace(found, CodePoints::of(kPropertyRanges + found->first_range,
                                        static_cast<size_t>(found->range_count)));
  }
  return &known.at(found);
}

}  // namespace

const CodePoints& word_characters(bool in_brackets) {
  return in_brackets ? remembered("[:word:]", is_word_in_brackets) : remembered("\\w", is_word);
}
const CodePoints& space_characters() { return *posix_class_called("space"); }
const CodePoints& digit_characters() { return *posix_class_called("digit"); }
const CodePoints& hexadecimal_characters() { return *posix_class_called("xdigit"); }

const CodePoints* posix_class_called(std::string_view name) {
  for (const auto& [known, belongs] : kPosixClasses) {
    if (known == name) return &remembered(concat("[:", name, ":]"), belongs);
  }
  return nullptr;
}

const CodePoints* property_called(std::string_view name, bool in_brackets) {
  std::string key = key_of(name);
  if (key == "any") return &remembered(key, [](char32_t) { return true; });
  if (key == "assigned") {
    return &remembered(key, [](char32_t c) { return category_of(c) != GeneralCategory::Cn; });
  }
  if (key == "newline") return &remembered(key, [](char32_t c) { return c == '\n'; });
  if (key == "word") return &word_characters(in_brackets);
  if (key == "lc" || key == "casedletter") {
    return &remembered("LC", [](char32_t c) {
      const GeneralCategory category = category_of(c);
      return category == GeneralCategory::Lu || category == GeneralCategory::Ll ||
             category == GeneralCategory::Lt;
    });
  }
  for (const auto& [other, meant] : kOtherNames) {
    if (other != key) continue;
    key = meant;
    break;
  }
  if (const CodePoints* const category = category_called(key)) return category;
  if (const CodePoints* const posix = posix_class_called(key)) return posix;
  return table_property_called(key);
}

}  // namespace msltx::text
