#include "msltx/text/post_processor.h"

#include <algorithm>

#include "msltx/base/error.h"
#include "msltx/text/unicode.h"
#include "msltx/text/utf8.h"

namespace msltx::text {
namespace {

constexpr int64_t kMaxId = int64_t{1} << 30;
constexpr int64_t kMaxTexts = 64;  // in a Sequence; processors that double it make much of little
constexpr char32_t kByteLevelSpace = 0x120;  // a space in the byte alphabet

int32_t id_of(const Json& value) {
  if (!value.is_number_integer() || value < 0 || value > kMaxId) {
    throw ValueError(concat("has a post_processor with the id ", value.dump()));
  }
  return value.get<int32_t>();
}

struct SpecialToken {
  std::vector<int32_t> ids;
  std::vector<std::string> tokens;
};

// ["[SEP]", 102]
SpecialToken pair_field(const Json& json, const char* key) {
  const Json& pair = list_field(json, key);
  if (pair.size() != 2 || !pair[0].is_string()) wrong_field(key, pair, "a token and its id");
  return {{id_of(pair[1])}, {pair[0].get<std::string>()}};
}

bool is_trimmed(char32_t c) { return c == kByteLevelSpace || is_space(c); }

// Offsets without the white space that a token begins or ends with.
void trim_offsets(Encoding& encoding, bool add_prefix_space) {
  for (size_t i = 0; i < encoding.size(); ++i) {
    std::vector<char32_t> characters;
    const std::string& token = encoding.tokens[i];
    for (const char* p = token.data(); p < token.data() + token.size();) {
      characters.push_back(decode_utf8(p));
    }
    const auto leads = static_cast<uint32_t>(
        std::find_if_not(characters.begin(), characters.end(), is_trimmed) - characters.begin());
    const auto trails = static_cast<uint32_t>(
        std::find_if_not(characters.rbegin(), characters.rend(), is_trimmed) - characters.rbegin());
    TextSpan& span = encoding.offsets[i];
    if (leads > 0) {
      // A space that was put before the text is not in it.
      const bool first = i == 0 || span.begin == 0;
      const uint32_t skip = first && add_prefix_space && leads == 1 ? 0 : leads;
      span.begin = std::min(span.begin + skip, span.end);
    }
    if (trails > 0 && span.end >= trails) span.end = std::max(span.end - trails, span.begin);
  }
  for (Encoding& window : encoding.overflowing) trim_offsets(window, add_prefix_space);
}

class ByteLevel final : public PostProcessor {
 public:
  explicit ByteLevel(const Json& json)
      : space_(flag_field(json, "add_prefix_space", true)),
        trim_(flag_field(json, "trim_offsets", true)) {}
  int64_t added() const override { return 0; }
  int32_t greatest_id() const override { return -1; }
  int64_t texts() const override { return 1; }
  void process(Encoding& encoding, bool) const override {
    if (trim_) trim_offsets(encoding, space_);
  }
  std::optional<Affixes> affixes() const override { return Affixes(); }

 private:
  bool space_, trim_;
};

// A text between special tokens, by pieces.
class Template : public PostProcessor {
 public:
  struct Part {
    std::optional<SpecialToken> special;  // else the text
    int32_t type_id = 0;
  };
  explicit Template(std::vector<Part> parts) : parts_(std::move(parts)) {}

  int64_t added() const final {
    int64_t count = 0;
    for (const Part& part : parts_) {
      if (part.special) count += static_cast<int64_t>(part.special->ids.size());
    }
    return count;
  }
  int32_t greatest_id() const final {
    int32_t greatest = -1;
    for (const Part& part : parts_) {
      if (!part.special) continue;
      for (const int32_t id : part.special->ids) greatest = std::max(greatest, id);
    }
    return greatest;
  }
  int64_t texts() const final {
    return std::count_if(parts_.begin(), parts_.end(),
                         [](const Part& part) { return !part.special; });
  }
  void process(Encoding& encoding, bool add_special_tokens) const override {
    Encoding out;
    for (const Part& part : parts_) {
      if (!part.special) {
        std::fill(encoding.type_ids.begin(), encoding.type_ids.end(), part.type_id);
        out.append(encoding);
      } else if (add_special_tokens) {
        Encoding special;
        for (size_t i = 0; i < part.special->ids.size(); ++i) {
          special.push(part.special->ids[i], part.special->tokens[i], {}, -1, part.type_id, true);
        }
        out.append(special);
      }
    }
    encoding = std::move(out);
  }
  std::optional<Affixes> affixes() const final {
    Affixes affixes;
    int texts = 0;
    for (const Part& part : parts_) {
      if (!part.special) {
        ++texts;
        continue;
      }
      auto& list = texts == 0 ? affixes.prefix : affixes.suffix;
      list.insert(list.end(), part.special->ids.begin(), part.special->ids.end());
    }
    if (texts != 1) return std::nullopt;
    return affixes;
  }

 private:
  std::vector<Part> parts_;
};

std::unique_ptr<const PostProcessor> make_template(const Json& json) {
  std::vector<Template::Part> parts;
  const Json& specials = member_of(json, "special_tokens");
  if (!specials.is_object()) wrong_field("special_tokens", specials, "an object");
  for (const Json& piece : list_field(json, "single")) {
    const Json& sequence = member_of(piece, "Sequence");
    const Json& special = member_of(piece, "SpecialToken");
    Template::Part part;
    if (!sequence.is_null()) {
      if (text_field(sequence, "id") != "A") wrong_field("id", sequence, "A in a single text");
      part.type_id = static_cast<int32_t>(count_field(sequence, "type_id"));
    } else if (!special.is_null()) {
      const std::string name = text_field(special, "id");
      part.type_id = static_cast<int32_t>(count_field(special, "type_id"));
      const Json& known = member_of(specials, name.c_str());
      if (known.is_null()) {
        throw ValueError(concat("has a post_processor template without ids for ", name));
      }
      SpecialToken token;
      for (const Json& id : list_field(known, "ids")) token.ids.push_back(id_of(id));
      for (const Json& text : list_field(known, "tokens")) {
        if (!text.is_string()) wrong_field("tokens", text, "text");
        token.tokens.push_back(text.get<std::string>());
      }
      if (token.ids.size() != token.tokens.size()) {
        throw ValueError(concat("has a post_processor template with ", token.ids.size(),
                                " ids and ", token.tokens.size(), " tokens for ", name));
      }
      part.special = std::move(token);
    } else {
      throw ValueError("has a post_processor template that cannot be read");
    }
    parts.push_back(std::move(part));
  }
  return std::make_unique<Template>(std::move(parts));
}

// [CLS] text [SEP]
std::vector<Template::Part> between(const Json& json) {
  return {{pair_field(json, "cls"), 0}, {std::nullopt, 0}, {pair_field(json, "sep"), 0}};
}

class Roberta final : public PostProcessor {
 public:
  explicit Roberta(const Json& json)
      : inner_(between(json)),
        space_(flag_field(json, "add_prefix_space")),
        trim_(flag_field(json, "trim_offsets")) {}
  int64_t added() const override { return inner_.added(); }
  int32_t greatest_id() const override { return inner_.greatest_id(); }
  int64_t texts() const override { return inner_.texts(); }
  void process(Encoding& encoding, bool add_special_tokens) const override {
    if (trim_) trim_offsets(encoding, space_);
    inner_.process(encoding, add_special_tokens);
  }
  std::optional<Affixes> affixes() const override { return inner_.affixes(); }

 private:
  Template inner_;
  bool space_, trim_;
};

class Sequence final : public PostProcessor {
 public:
  explicit Sequence(const Json& json) {
    for (const Json& part : list_field(json, "processors")) {
      parts_.push_back(make_post_processor(part));
      if (!parts_.back()) throw ValueError("has post_processor null in a Sequence");
      // Special tokens before it are repeated even where the text no longer stands.
      texts_ *= std::max<int64_t>(1, parts_.back()->texts());
      if (texts_ > kMaxTexts) {
        throw ValueError(concat("has a post_processor Sequence that repeats the text ", texts_,
                                " times; the limit is ", kMaxTexts));
      }
    }
  }
  int64_t added() const override {
    int64_t count = 0;
    for (const auto& part : parts_) count += part->added();
    return count;
  }
  int32_t greatest_id() const override {
    int32_t greatest = -1;
    for (const auto& part : parts_) greatest = std::max(greatest, part->greatest_id());
    return greatest;
  }
  int64_t texts() const override { return texts_; }
  void process(Encoding& encoding, bool add_special_tokens) const override {
    for (const auto& part : parts_) part->process(encoding, add_special_tokens);
  }
  std::optional<Affixes> affixes() const override {
    Affixes all;
    for (const auto& part : parts_) {
      const auto outer = part->affixes();
      if (!outer) return std::nullopt;
      all.prefix.insert(all.prefix.begin(), outer->prefix.begin(), outer->prefix.end());
      all.suffix.insert(all.suffix.end(), outer->suffix.begin(), outer->suffix.end());
    }
    return all;
  }

 private:
  std::vector<std::unique_ptr<const PostProcessor>> parts_;
  int64_t texts_ = 1;
};

}  // namespace

std::unique_ptr<const PostProcessor> make_post_processor(const Json& json) {
  if (json.is_null()) return nullptr;
  const std::string type = type_of(json, "post_processor");
  if (type == "ByteLevel") return std::make_unique<ByteLevel>(json);
  if (type == "BertProcessing") return std::make_unique<Template>(between(json));
  if (type == "RobertaProcessing") return std::make_unique<Roberta>(json);
  if (type == "TemplateProcessing") return make_template(json);
  if (type == "Sequence") return std::make_unique<Sequence>(json);
  unknown_part("post_processor", type);
}

}  // namespace msltx::text
