#include "msltx/text/pre_tokenizer.h"

#include <algorithm>
#include <optional>

#include "msltx/base/error.h"
#include "msltx/text/hf_unicode.h"
#include "msltx/text/normalizer.h"
#include "msltx/text/pattern.h"
#include "msltx/text/split_pattern.h"
#include "msltx/text/unicode.h"

namespace msltx::text {
namespace {

// Spans of one text at a time: cut(text, spans) appends the parts that stay.
class Splitter : public PreTokenizer {
 public:
  void split(std::vector<Piece>& pieces) const final {
    std::vector<Piece> out;
    out.reserve(pieces.size());
    std::vector<TextSpan> spans;
    for (Piece& piece : pieces) {
      if (piece.token >= 0) {
        out.push_back(std::move(piece));
        continue;
      }
      if (piece.text.empty()) continue;
      spans.clear();
      prepare(piece.text);
      cut(piece.text, spans);
      if (spans.size() == 1 && spans[0].begin == 0 && spans[0].end == piece.text.text().size()) {
        out.push_back(std::move(piece));
        continue;
      }
      for (const TextSpan& span : spans) {
        if (span.begin < span.end) out.push_back({piece.text.slice(span.begin, span.end)});
      }
    }
    pieces.swap(out);
  }

 protected:
  virtual void prepare(AlignedText&) const {}
  virtual void cut(const AlignedText& text, std::vector<TextSpan>& spans) const = 0;
};

// Splits at every character that matches(c).
template <class Matches>
void cut_at(const AlignedText& text, SplitBehavior behavior, std::vector<TextSpan>& spans,
            Matches&& matches) {
  std::vector<TextSpan> found;
  const std::string& bytes = text.text();
  const char* p = bytes.data();
  const char* const end = p + bytes.size();
  while (p < end) {
    const auto begin = static_cast<uint32_t>(p - bytes.data());
    if (matches(decode_utf8(p))) found.push_back({begin, static_cast<uint32_t>(p - bytes.data())});
  }
  spans = split_at(found, bytes.size(), behavior, false);
}

bool is_punctuation(char32_t c) { return hf::is(c, hf::HfClass::punctuation); }

class AtSpaces final : public Splitter {
  void cut(const AlignedText& text, std::vector<TextSpan>& spans) const override {
    cut_at(text, SplitBehavior::removed, spans, is_space);
  }
};

class Punctuation final : public Splitter {
 public:
  explicit Punctuation(SplitBehavior behavior) : behavior_(behavior) {}

 private:
  void cut(const AlignedText& text, std::vector<TextSpan>& spans) const override {
    cut_at(text, behavior_, spans, is_punctuation);
  }
  SplitBehavior behavior_;
};

class Digits final : public Splitter {
 public:
  explicit Digits(bool individual)
      : behavior_(individual ? SplitBehavior::isolated : SplitBehavior::contiguous) {}

 private:
  void cut(const AlignedText& text, std::vector<TextSpan>& spans) const override {
    cut_at(text, behavior_, spans, [](char32_t c) { return hf::is(c, hf::HfClass::numeric); });
  }
  SplitBehavior behavior_;
};

class AtCharacter final : public Splitter {
 public:
  explicit AtCharacter(char32_t delimiter) : delimiter_(delimiter) {}

 private:
  void cut(const AlignedText& text, std::vector<TextSpan>& spans) const override {
    cut_at(text, SplitBehavior::removed, spans, [&](char32_t c) { return c == delimiter_; });
  }
  char32_t delimiter_;
};

// \w+|[^\w\s]+
class Whitespace final : public Splitter {
  void cut(const AlignedText& text, std::vector<TextSpan>& spans) const override {
    enum class Kind : uint8_t { space, word, other };
    Kind previous = Kind::space;
    const std::string& bytes = text.text();
    const char* p = bytes.data();
    const char* const end = p + bytes.size();
    while (p < end) {
      const auto begin = static_cast<uint32_t>(p - bytes.data());
      const char32_t c = decode_utf8(p);
      const Kind kind = hf::is(c, hf::HfClass::word) ? Kind::word
                        : is_space(c)                ? Kind::space
                                                     : Kind::other;
      const auto after = static_cast<uint32_t>(p - bytes.data());
      if (kind != Kind::space) {
        if (kind == previous) {
          spans.back().end = after;
        } else {
          spans.push_back({begin, after});
        }
      }
      previous = kind;
    }
  }
};

class FixedLength final : public Splitter {
 public:
  explicit FixedLength(int64_t length) : length_(length) {
    if (length < 1) throw ValueError("has FixedLength with length 0; it takes 1 and more");
  }

 private:
  void cut(const AlignedText& text, std::vector<TextSpan>& spans) const override {
    int64_t count = 0;
    uint32_t begin = 0, at = 0;
    const char* p = text.text().data();
    const char* const end = p + text.text().size();
    while (p < end) {
      decode_utf8(p);
      at = static_cast<uint32_t>(p - text.text().data());
      if (++count == length_ || p == end) {
        spans.push_back({begin, at});
        begin = at;
        count = 0;
      }
    }
  }
  int64_t length_;
};

class UnicodeScripts final : public Splitter {
  void cut(const AlignedText& text, std::vector<TextSpan>& spans) const override {
    int last = -1;  // of the scripts before; -1: none yet
    uint32_t begin = 0;
    bool any = false;
    const std::string& bytes = text.text();
    const char* p = bytes.data();
    const char* const end = p + bytes.size();
    while (p < end) {
      const auto at = static_cast<uint32_t>(p - bytes.data());
      const int script = hf::script_of(decode_utf8(p));
      if (script == 0) continue;
      if (script != last) {
        // What goes with any script and stands before the first one is left out, as the library
        // does.
        if (any) spans.push_back({begin, at});
        begin = at;
        any = true;
      }
      last = script;
    }
    if (any) spans.push_back({begin, static_cast<uint32_t>(bytes.size())});
  }
};

class Split final : public Splitter {
 public:
  explicit Split(const Json& json)
      : behavior_(behavior_field(json, "behavior", SplitBehavior::removed)),
        invert_(flag_field(json, "invert")) {
    if (member_of(json, "behavior").is_null()) throw ValueError("has Split without behavior");
    const Json& regex = member_of(member_of(json, "pattern"), "Regex");
    if (regex.is_string()) known_ = split_pattern_from_regex(regex.get<std::string>());
    // What has a splitter needs no expression.
    if (!known_) pattern_.emplace(json);
  }

 private:
  void cut(const AlignedText& text, std::vector<TextSpan>& spans) const override {
    std::vector<TextSpan> found;
    if (known_) {
      const char* const begin = text.text().data();
      with_split(*known_, [&]<class S>(S) {
        for_each_piece<S>(text.text(), [&](std::string_view piece) {
          const auto at = static_cast<uint32_t>(piece.data() - begin);
          found.push_back({at, at + static_cast<uint32_t>(piece.size())});
        });
      });
    } else {
      pattern_->find_all(text.text(), found);
    }
    spans = split_at(found, text.text().size(), behavior_, invert_);
  }

  SplitBehavior behavior_;
  bool invert_;
  std::optional<SplitPattern> known_;
  std::optional<Pattern> pattern_;  // of what is not known
};

class Metaspace final : public Splitter {
 public:
  explicit Metaspace(const Json& json) : fields_(json) {
    append_utf8(written_, fields_.replacement);
  }

 private:
  void prepare(AlignedText& text) const override {
    std::vector<TextSpan> spaces;
    for (size_t at = text.text().find(' '); at != std::string::npos;
         at = text.text().find(' ', at + 1)) {
      spaces.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(at + 1)});
    }
    text.replace(spaces, written_);
    const bool wanted = fields_.scheme == PrependScheme::always ||
                        (fields_.scheme == PrependScheme::first && text.begin() == 0);
    if (wanted && !text.text().starts_with(written_)) text.prepend(written_);
  }
  void cut(const AlignedText& text, std::vector<TextSpan>& spans) const override {
    if (fields_.split) {
      cut_at(text, SplitBehavior::merged_with_next, spans,
             [&](char32_t c) { return c == fields_.replacement; });
    } else {
      spans.push_back({0, static_cast<uint32_t>(text.text().size())});
    }
  }

  MetaspaceFields fields_;
  std::string written_;
};

// Cuts by GPT-2's pattern where it is asked to, then writes bytes in the byte alphabet.
class ByteLevel final : public PreTokenizer {
 public:
  explicit ByteLevel(const Json& json)
      : space_(flag_field(json, "add_prefix_space", true)),
        split_(flag_field(json, "use_regex", true)) {}

  void split(std::vector<Piece>& pieces) const override {
    std::vector<Piece> out;
    for (Piece& piece : pieces) {
      if (piece.token >= 0) {
        out.push_back(std::move(piece));
        continue;
      }
      if (piece.text.empty()) continue;
      if (space_ && !piece.text.text().starts_with(' ')) piece.text.prepend(" ");
      if (!split_) {
        to_byte_level(piece.text);
        out.push_back(std::move(piece));
        continue;
      }
      const std::string& bytes = piece.text.text();
      for_each_piece<Gpt2Split>(bytes, [&](std::string_view part) {
        const auto begin = static_cast<size_t>(part.data() - bytes.data());
        out.push_back({piece.text.slice(begin, begin + part.size())});
        to_byte_level(out.back().text);
      });
    }
    pieces.swap(out);
  }

 private:
  bool space_, split_;
};

class Sequence final : public PreTokenizer {
 public:
  void add(std::unique_ptr<const PreTokenizer> part) { parts_.push_back(std::move(part)); }
  void split(std::vector<Piece>& pieces) const override {
    for (const auto& part : parts_) part->split(pieces);
  }

 private:
  std::vector<std::unique_ptr<const PreTokenizer>> parts_;
};

}  // namespace

MetaspaceFields::MetaspaceFields(const Json& json)
    : replacement(character_field(json, "replacement")),
      scheme(PrependScheme::always),
      split(flag_field(json, "split", true)) {
  const std::string name = text_field(json, "prepend_scheme", "always");
  if (name == "first") {
    scheme = PrependScheme::first;
  } else if (name == "never") {
    scheme = PrependScheme::never;
  } else if (name != "always") {
    wrong_field("prepend_scheme", Json(name), "always, first or never");
  }
  // The older form of the file.
  if (!flag_field(json, "add_prefix_space", true)) {
    if (!member_of(json, "prepend_scheme").is_null() && scheme != PrependScheme::never) {
      throw ValueError(
          concat("has Metaspace with add_prefix_space false and prepend_scheme ", name));
    }
    scheme = PrependScheme::never;
  }
}

std::unique_ptr<const PreTokenizer> make_pre_tokenizer(const Json& json) {
  if (json.is_null()) return nullptr;
  const std::string type = type_of(json, "pre_tokenizer");
  if (type == "Sequence") {
    auto sequence = std::make_unique<Sequence>();
    for (const Json& part : list_field(json, "pretokenizers")) {
      auto made = make_pre_tokenizer(part);
      if (!made) throw ValueError("has pre_tokenizer null in a Sequence");
      sequence->add(std::move(made));
    }
    return sequence;
  }
  if (type == "ByteLevel") return std::make_unique<ByteLevel>(json);
  if (type == "BertPreTokenizer") {
    auto sequence = std::make_unique<Sequence>();
    sequence->add(std::make_unique<AtSpaces>());
    sequence->add(std::make_unique<Punctuation>(SplitBehavior::isolated));
    return sequence;
  }
  if (type == "Whitespace") return std::make_unique<Whitespace>();
  if (type == "WhitespaceSplit") return std::make_unique<AtSpaces>();
  if (type == "Metaspace") return std::make_unique<Metaspace>(json);
  if (type == "Punctuation") {
    return std::make_unique<Punctuation>(behavior_field(json, "behavior", SplitBehavior::isolated));
  }
  if (type == "Digits") return std::make_unique<Digits>(flag_field(json, "individual_digits"));
  if (type == "Split") return std::make_unique<Split>(json);
  if (type == "CharDelimiterSplit") {
    return std::make_unique<AtCharacter>(character_field(json, "delimiter"));
  }
  if (type == "UnicodeScripts") return std::make_unique<UnicodeScripts>();
  if (type == "FixedLength") {
    return std::make_unique<FixedLength>(count_field(json, "length", 5));
  }
  unknown_part("pre_tokenizer", type);
}

}  // namespace msltx::text
