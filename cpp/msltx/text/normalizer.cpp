#include "msltx/text/normalizer.h"

#include "msltx/base/error.h"
#include "msltx/text/byte_alphabet.h"
#include "msltx/text/hf_unicode.h"
#include "msltx/text/normal_forms.h"
#include "msltx/text/pattern.h"
#include "msltx/text/unicode.h"

namespace msltx::text {
namespace {

using Change = AlignedText::Change;

class Sequence final : public Normalizer {
 public:
  explicit Sequence(const Json& json) {
    for (const Json& part : list_field(json, "normalizers")) {
      parts_.push_back(make_normalizer(part));
      if (!parts_.back()) throw ValueError("has normalizer null in a Sequence");
    }
  }
  void normalize(AlignedText& text) const override {
    for (const auto& part : parts_) part->normalize(text);
  }

 private:
  std::vector<std::unique_ptr<const Normalizer>> parts_;
};

void lowercase(AlignedText& text) {
  std::vector<Change> changes;
  changes.reserve(text.text().size());
  std::vector<char32_t> lower;
  text.for_each([&](char32_t c) {
    if (c < 0x80) {
      changes.push_back({c >= 'A' && c <= 'Z' ? c + 32 : c, 0});
      return;
    }
    lower.clear();
    hf::append_lowercase(c, lower);
    for (size_t i = 0; i < lower.size(); ++i) changes.push_back({lower[i], i == 0 ? 0 : 1});
  });
  text.transform(changes);
}

class Lowercase final : public Normalizer {
 public:
  void normalize(AlignedText& text) const override { lowercase(text); }
};

class Bert final : public Normalizer {
 public:
  explicit Bert(const Json& json)
      : clean_(flag_field(json, "clean_text")),
        chinese_(flag_field(json, "handle_chinese_chars")),
        lowercase_(flag_field(json, "lowercase")),
        strip_accents_(flag_field(json, "strip_accents", lowercase_)) {}

  void normalize(AlignedText& text) const override {
    if (clean_) {
      const auto stays = [](char32_t c) {
        return c == '\t' || c == '\n' || c == '\r' || !hf::is(c, hf::HfClass::control);
      };
      bool all = true, plain = true;
      text.for_each([&](char32_t c) {
        all &= stays(c);
        plain &= c == ' ' || !is_space(c);
      });
      if (!all) text.filter(stays);
      if (!plain) text.map([](char32_t c) { return is_space(c) ? U' ' : c; });
    }
    if (chinese_) separate_chinese(text);
    if (strip_accents_) {
      text::normalize(text, NormalForm::nfd);
      text.filter([](char32_t c) { return c < 0x80 || !hf::is(c, hf::HfClass::nonspacing); });
    }
    if (lowercase_) lowercase(text);
  }

 private:
  static bool is_chinese(char32_t c) {
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
           (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
           (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
  }
  static void separate_chinese(AlignedText& text) {
    bool any = false;
    text.for_each([&](char32_t c) { any |= c >= 0x3400 && is_chinese(c); });
    if (!any) return;
    std::vector<Change> changes;
    text.for_each([&](char32_t c) {
      if (is_chinese(c)) {
        changes.insert(changes.end(), {{U' ', 0}, {c, 1}, {U' ', 1}});
      } else {
        changes.push_back({c, 0});
      }
    });
    text.transform(changes);
  }

  bool clean_, chinese_, lowercase_, strip_accents_;
};

class Form final : public Normalizer {
 public:
  explicit Form(NormalForm form) : form_(form) {}
  void normalize(AlignedText& text) const override { text::normalize(text, form_); }

 private:
  NormalForm form_;
};

class StripAccents final : public Normalizer {
 public:
  void normalize(AlignedText& text) const override {
    text.filter([](char32_t c) { return !hf::is(c, hf::HfClass::combining); });
  }
};

class Nmt final : public Normalizer {
 public:
  void normalize(AlignedText& text) const override {
    text.filter([](char32_t c) {
      return !((c >= 0x1 && c <= 0x8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F ||
               c == 0x8F || c == 0x9F);
    });
    text.map([](char32_t c) {
      const bool space = c == 0x9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                         (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 ||
                         c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
      return space ? U' ' : c;
    });
  }
};

class Strip final : public Normalizer {
 public:
  explicit Strip(const Json& json)
      : left_(flag_field(json, "strip_left")), right_(flag_field(json, "strip_right")) {}

  // The library keeps the place of what is cut off at the right only by chance; offsets do not show
  // it.
  void normalize(AlignedText& text) const override {
    std::vector<char32_t> all;
    text.for_each([&](char32_t c) { all.push_back(c); });
    size_t begin = 0, end = all.size();
    if (left_) {
      while (begin < end && is_space(all[begin])) ++begin;
    }
    if (right_) {
      while (end > begin && is_space(all[end - 1])) --end;
    }
    if (begin == 0 && end == all.size()) return;
    std::vector<Change> changes;
    for (size_t i = begin; i < end; ++i) changes.push_back({all[i], 0});
    text.transform(changes, begin);
  }

 private:
  bool left_, right_;
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(const Json& json) : what_(text_field(json, "prepend")) {}
  void normalize(AlignedText& text) const override { text.prepend(what_); }

 private:
  std::string what_;
};

class Replace final : public Normalizer {
 public:
  explicit Replace(const Json& json) : pattern_(json), content_(text_field(json, "content")) {}
  void normalize(AlignedText& text) const override {
    std::vector<TextSpan> matches;
    pattern_.find_all(text.text(), matches);
    text.replace(matches, content_);
  }

 private:
  Pattern pattern_;
  std::string content_;
};

class ByteLevel final : public Normalizer {
 public:
  void normalize(AlignedText& text) const override { to_byte_level(text); }
};

}  // namespace

void to_byte_level(AlignedText& text) {
  std::vector<Change> changes;
  changes.reserve(text.text().size());
  for (const char c : text.text()) {
    const auto byte = static_cast<unsigned char>(c);
    // The bytes after a character's first one are new beside it.
    changes.push_back({byte_alphabet()[byte], (byte & 0xC0) == 0x80 ? 1 : 0});
  }
  text.transform(changes);
}

std::unique_ptr<const Normalizer> make_normalizer(const Json& json) {
  if (json.is_null()) return nullptr;
  const std::string type = type_of(json, "normalizer");
  if (type == "Sequence") return std::make_unique<Sequence>(json);
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "BertNormalizer" || type == "Bert") return std::make_unique<Bert>(json);
  if (type == "NFC") return std::make_unique<Form>(NormalForm::nfc);
  if (type == "NFD") return std::make_unique<Form>(NormalForm::nfd);
  if (type == "NFKC") return std::make_unique<Form>(NormalForm::nfkc);
  if (type == "NFKD") return std::make_unique<Form>(NormalForm::nfkd);
  if (type == "StripAccents") return std::make_unique<StripAccents>();
  if (type == "Nmt") return std::make_unique<Nmt>();
  if (type == "Strip") return std::make_unique<Strip>(json);
  if (type == "Prepend") return std::make_unique<Prepend>(json);
  if (type == "Replace") return std::make_unique<Replace>(json);
  if (type == "ByteLevel") return std::make_unique<ByteLevel>();
  if (type == "Precompiled") {
    const char* const key = "precompiled_charsmap";
    return make_precompiled(from_base64(text_field(json, key), key));
  }
  unknown_part("normalizer", type);
}

}  // namespace msltx::text
