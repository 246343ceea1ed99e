#include "msltx/text/word_rules.h"

#include <utf8proc.h>

#include <algorithm>
#include <string>
#include <vector>

#include "msltx/base/error.h"
#include "msltx/text/char_bpe.h"
#include "msltx/text/normalizer.h"
#include "msltx/text/pre_tokenizer.h"
#include "msltx/text/unicode.h"
#include "msltx/text/word_cut.h"

namespace msltx::text {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581

bool is_one_of(const std::string& type, std::initializer_list<std::string_view> types) {
  return std::find(types.begin(), types.end(), type) != types.end();
}

bool has_space(const std::string& text) {
  for (const char* p = text.data(); p < text.data() + text.size();) {
    if (is_space(decode_utf8(p))) return true;
  }
  return false;
}

// What a normalizer does with spaces between words.
enum class Spaces : uint8_t { kept, marked, unknown };

// Of one step; `first`: the first of all.
Spaces spaces_after(const Json& step) {
  const std::string type = type_of(step, "normalizer");
  if (is_one_of(type, {"Lowercase", "BertNormalizer", "Bert", "NFC", "NFD", "NFKC", "NFKD",
                       "StripAccents", "Nmt", "Precompiled"})) {
    return Spaces::kept;
  }
  if (type != "Replace") return Spaces::unknown;
  const Json& pattern = member_of(step, "pattern");
  const std::string content = text_field(step, "content");
  const Json& exact = member_of(pattern, "String");
  if (exact.is_string()) {
    const auto what = exact.get<std::string>();
    if (what == " ") return content == kSpaceMark ? Spaces::marked : Spaces::unknown;
    // Printable ASCII stays what it is in the steps after (keeps_words_apart).
    const bool printable =
        std::all_of(content.begin(), content.end(), [](char c) { return c > 0x20 && c < 0x7F; });
    const bool inside = !what.empty() && !has_space(what) && !content.empty() && printable;
    return inside ? Spaces::kept : Spaces::unknown;
  }
  // A space between plain characters stands alone.
  return member_of(pattern, "Regex") == " {2,}" && content == " " ? Spaces::kept : Spaces::unknown;
}

// Every step of a normalizer in order, sequences taken apart.
void append_steps(const Json& normalizer, std::vector<Json>& steps) {
  if (normalizer.is_null()) return;
  if (type_of(normalizer, "normalizer") != "Sequence") {
    steps.push_back(normalizer);
    return;
  }
  for (const Json& part : list_field(normalizer, "normalizers")) append_steps(part, steps);
}

// True when the pieces of a word do not depend on what stands around it.
bool cuts_at_spaces(const Json& pre_tokenizer) {
  if (pre_tokenizer.is_null()) return false;
  const std::string type = type_of(pre_tokenizer, "pre_tokenizer");
  if (type == "Metaspace") {
    const MetaspaceFields fields(pre_tokenizer);
    return fields.split && fields.scheme != PrependScheme::first;
  }
  if (type != "Sequence") {
    return is_one_of(type, {"WhitespaceSplit", "Whitespace", "BertPreTokenizer"});
  }
  const Json& parts = list_field(pre_tokenizer, "pretokenizers");
  if (parts.empty() || !cuts_at_spaces(parts.front())) return false;
  // What follows sees words alone.
  return std::all_of(parts.begin() + 1, parts.end(), [](const Json& part) {
    const std::string next = type_of(part, "pre_tokenizer");
    if (next == "Metaspace") return MetaspaceFields(part).scheme != PrependScheme::first;
    return is_one_of(
        next, {"WhitespaceSplit", "Whitespace", "BertPreTokenizer", "Punctuation", "Digits"});
  });
}

// A table replaces whole grapheme clusters, and these characters make one with what follows.
std::vector<std::string> characters_that_prepend() {
  std::vector<std::string> out;
  for (char32_t c = 0x600; c < 0x12000; ++c) {
    if (utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->boundclass !=
        UTF8PROC_BOUNDCLASS_PREPEND) {
      continue;
    }
    append_utf8(out.emplace_back(), c);
  }
  return out;
}

// A plain character stays one character or more, none of them white space, and a space between
// words `space`, whatever stands beside it: a table of the file may say otherwise.
bool keeps_words_apart(const Normalizer& normalizer, std::string_view space) {
  const auto normalized = [&](const std::string& given) {
    AlignedText text(given, false);
    normalizer.normalize(text);
    return std::string(text.text());
  };
  if (normalized(" ") != space) return false;
  for (const std::string& before : characters_that_prepend()) {
    for (const std::string& plain : {std::string("a"), std::string("\u00e9")}) {
      if (!normalized(before + plain).ends_with(normalized(plain))) return false;
    }
  }
  for (char32_t c = 0; c < 0x530; ++c) {
    std::string character;
    append_utf8(character, c);
    if (!WordCut::is_plain(character.data())) continue;
    const std::string text = normalized(character);
    if (text.empty() || has_space(text) || text.find(kSpaceMark) != std::string::npos ||
        normalized(" " + character) != concat(space, text) ||
        normalized(character + " ") != concat(text, space)) {
      return false;
    }
  }
  return true;
}

bool keeps_words_apart(const Json& normalizer, std::string_view space) {
  const auto made = make_normalizer(normalizer);
  if (!made) return space == " ";
  try {
    return keeps_words_apart(*made, space);
  } catch (const ValueError&) {  // one that makes more of a text than is allowed
    return false;
  }
}

}  // namespace

bool merges_within_words(const Model& model) {
  const auto* const bpe = dynamic_cast<const CharBpe*>(&model);
  if (!bpe || !bpe->spec().continuing_prefix.empty() || !bpe->spec().word_suffix.empty() ||
      !bpe->spec().symbols.empty()) {
    return false;
  }
  // A whole text may be a token, which its words are not.
  if (bpe->spec().ignore_merges) return false;
  // An unknown character may be a mark, or leave two of them side by side.
  const std::string& unknown = bpe->spec().unk_token;
  if (unknown.empty() || unknown.find(kSpaceMark) != std::string::npos) return false;
  const Vocabulary& vocabulary = bpe->vocabulary();
  // An unknown mark could become one with an unknown character before it.
  if (!vocabulary.find(kSpaceMark)) return false;
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const std::string& token = vocabulary.token(id);
    size_t at = 0;
    while (token.compare(at, kSpaceMark.size(), kSpaceMark) == 0) at += kSpaceMark.size();
    if (token.find(kSpaceMark, at) != std::string::npos) return false;
  }
  return true;
}

WordRules find_word_rules(const Json& normalizer, const Json& pre_tokenizer, const Model& model) {
  std::vector<Json> steps;
  append_steps(normalizer, steps);
  WordRules rules;
  Json inner = Json::array();
  Spaces spaces = Spaces::kept;
  for (size_t i = 0; i < steps.size(); ++i) {
    const bool prefix = i == 0 && type_of(steps[i], "normalizer") == "Prepend" &&
                        text_field(steps[i], "prepend") == kSpaceMark;
    if (prefix) continue;
    // Once spaces are marked, nothing is known of what later steps see.
    if (spaces != Spaces::kept) return rules;
    spaces = spaces_after(steps[i]);
    inner.push_back(steps[i]);
  }
  if (spaces == Spaces::unknown) return rules;
  rules.hold = pre_tokenizer.is_null() ? spaces == Spaces::marked && merges_within_words(model)
                                       : spaces == Spaces::kept && cuts_at_spaces(pre_tokenizer);
  if (!inner.empty()) rules.inner_normalizer = {{"type", "Sequence"}, {"normalizers", inner}};
  const std::string_view space = spaces == Spaces::marked ? kSpaceMark : " ";
  rules.hold = rules.hold && keeps_words_apart(rules.inner_normalizer, space);
  return rules;
}

bool WordCut::is_plain_letter(char32_t c) {
  const bool script = (c >= 0xC0 && c < 0x250) || (c >= 0x386 && c < 0x530 && c != 0x3F2);
  if (!script) return false;
  const GeneralCategory category = category_of(c);
  return category == GeneralCategory::Ll || category == GeneralCategory::Lu ||
         category == GeneralCategory::Lo;
}

}  // namespace msltx::text
