#include "msltx/text/tokenizer_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "msltx/base/error.h"
#include "msltx/text/json.h"

namespace msltx::text {
namespace {

using json = nlohmann::json;
using ordered_json = nlohmann::ordered_json;  // for writing; its look-ups are linear

constexpr int64_t kMaxVocabSize = int64_t{1} << 30;

// [BOS] $A [EOS] as the Hugging Face library writes it.
ordered_json template_processor(const TokenizerSpec& spec) {
  using Json = ordered_json;
  Json single = Json::array(), second = Json::array(), special = Json::object();
  const auto add = [&](Json& list, const std::vector<int32_t>& ids, int type_id) {
    for (const int32_t id : ids) {
      const std::string& token = spec.tokens[static_cast<size_t>(id)];
      list.push_back({{"SpecialToken", {{"id", token}, {"type_id", type_id}}}});
      special[token] = {
          {"id", token}, {"ids", Json::array({id})}, {"tokens", Json::array({token})}};
    }
  };
  const auto sequence = [](const char* name, int type_id) {
    return Json{{"Sequence", {{"id", name}, {"type_id", type_id}}}};
  };
  add(single, spec.prefix, 0);
  single.push_back(sequence("A", 0));
  add(single, spec.suffix, 0);
  second.push_back(sequence("B", 1));
  add(second, spec.suffix, 1);
  Json pair = single;
  for (const Json& piece : second) pair.push_back(piece);
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", special}};
}

// One reading of one file: every complaint begins with the file's name.
class Reader {
 public:
  Reader(const json& root, const std::string& name) : root_(root), name_(name) {}

  TokenizerSpec read() {
    if (!root_.is_object()) fail("is not a JSON object");
    if (text_of(root_, "version", "1.0") != "1.0") {
      fail(concat("has version ", root_["version"].dump(), "; 1.0 is read"));
    }
    for (const char* part : {"truncation", "padding"}) {
      if (has(root_, part)) fail(concat("sets ", part, ", which is not supported"));
    }
    read_model();
    read_added_tokens();
    read_normalizer(member(root_, "normalizer"));
    read_pre_tokenizer();
    read_decoder();
    read_post_processor(member(root_, "post_processor"));
    if (has(root_, "post_processor")) keep_post_processor(root_["post_processor"]);
    return std::move(spec_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw FileError(concat(name_, " ", what));
  }
  [[noreturn]] void unknown(std::string_view part, const std::string& type) const {
    fail(concat("has ", part, " ", type, ", which is not supported"));
  }

  static const json& member(const json& object, const char* key) {
    static const json null;
    const auto found = object.find(key);
    return found == object.end() ? null : *found;
  }
  static bool has(const json& object, const char* key) { return !member(object, key).is_null(); }

  std::string text_of(const json& object, const char* key, const std::string& otherwise) const {
    const json& value = member(object, key);
    if (value.is_null()) return otherwise;
    if (!value.is_string()) fail(concat("has ", key, " ", value.dump(), " where text is expected"));
    return value.get<std::string>();
  }
  bool flag_of(const json& object, const char* key, bool otherwise) const {
    const json& value = member(object, key);
    if (value.is_null()) return otherwise;
    if (!value.is_boolean()) {
      fail(concat("has ", key, " ", value.dump(), " where true or false is expected"));
    }
    return value.get<bool>();
  }
  int32_t id_of(const json& value, const std::string& token) const {
    if (!value.is_number_integer() || value < 0 || value >= kMaxVocabSize) {
      fail(concat("gives token ", token, " the id ", value.dump(), "; ids are 0 to ",
                  kMaxVocabSize - 1));
    }
    return value.get<int32_t>();
  }
  // The type of a component, which is an object that names it.
  std::string type_of(const json& component, std::string_view part) const {
    if (!component.is_object())
      fail(concat("has ", part, " ", component.dump(), "; an object is expected"));
    const json& type = member(component, "type");
    if (!type.is_string()) fail(concat("has ", part, " without a type"));
    return type.get<std::string>();
  }

  void read_model() {
    const json& model = member(root_, "model");
    if (!model.is_object()) fail("has no model");
    const std::string type =
        text_of(model, "type", has(model, "merges") ? "BPE" : "without a type");
    if (type != "BPE") unknown("model", type);
    const json& dropout = member(model, "dropout");
    if (!dropout.is_null() && dropout != 0.0) unknown("model option dropout", dropout.dump());
    for (const char* option : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      const std::string value = text_of(model, option, "");
      if (!value.empty()) unknown(concat("model option ", option), value);
    }
    if (flag_of(model, "byte_fallback", false)) unknown("model option byte_fallback", "true");
    spec_.ignore_merges = flag_of(model, "ignore_merges", false);
    spec_.unk_token = text_of(model, "unk_token", "");
    read_vocabulary(member(model, "vocab"));
    read_merges(member(model, "merges"));
  }

  void read_vocabulary(const json& vocabulary) {
    if (!vocabulary.is_object()) fail("has no model.vocab");
    const size_t size = vocabulary.size();
    spec_.tokens.resize(size);
    std::vector<bool> taken(size);
    for (const auto& [token, value] : vocabulary.items()) {
      const auto id = static_cast<size_t>(id_of(value, token));
      if (id >= size) {
        fail(concat("gives token ", token, " the id ", id, "; its ", size,
                    " tokens have the ids 0 to ", size - 1));
      }
      if (taken[id]) fail(concat("gives id ", id, " to ", spec_.tokens[id], " and to ", token));
      taken[id] = true;
      spec_.tokens[id] = token;
      ids_.emplace(token, static_cast<int32_t>(id));
    }
  }

  void read_merges(const json& merges) {
    if (!merges.is_array()) fail("has no model.merges");
    spec_.merges.reserve(merges.size());
    for (const json& merge : merges) {
      std::string left, right;
      if (merge.is_string()) {
        const std::string text = merge.get<std::string>();
        const size_t space = text.find(' ');
        if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
          fail(concat("has the merge \"", text, "\"; two tokens and a space are expected"));
        }
        left = text.substr(0, space);
        right = text.substr(space + 1);
      } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
                 merge[1].is_string()) {
        left = merge[0].get<std::string>();
        right = merge[1].get<std::string>();
      } else {
        fail(concat("has the merge ", merge.dump(), "; two tokens are expected"));
      }
      spec_.merges.emplace_back(merged_id(left), merged_id(right));
    }
  }
  int32_t merged_id(const std::string& token) const {
    const auto found = ids_.find(token);
    if (found == ids_.end()) fail(concat("merges ", token, ", which is not in its vocabulary"));
    return found->second;
  }

  void read_added_tokens() {
    const json& list = member(root_, "added_tokens");
    if (list.is_null()) return;
    if (!list.is_array()) fail("has added_tokens that are no list");
    for (const json& entry : list) {
      if (!entry.is_object()) fail(concat("has the added token ", entry.dump()));
      AddedToken token;
      token.content = text_of(entry, "content", "");
      if (token.content.empty())
        fail(concat("has the added token ", entry.dump(), " without content"));
      token.id = id_of(member(entry, "id"), token.content);
      token.special = flag_of(entry, "special", false);
      token.normalized = flag_of(entry, "normalized", true);
      for (const char* option : {"single_word", "lstrip", "rstrip"}) {
        if (flag_of(entry, option, false)) {
          unknown(concat("added token ", token.content, " with"), option);
        }
      }
      const auto known = ids_.find(token.content);
      if (known == ids_.end()) {
        if (static_cast<size_t>(token.id) != spec_.tokens.size()) {
          fail(concat("gives the added token ", token.content, " the id ", token.id,
                      "; the next one is ", spec_.tokens.size()));
        }
        spec_.tokens.push_back(token.content);
        ids_.emplace(token.content, token.id);
      } else if (known->second != token.id) {
        fail(concat("gives the added token ", token.content, " the id ", token.id,
                    " and in its vocabulary ", known->second));
      }
      spec_.added.push_back(std::move(token));
    }
  }

  void read_normalizer(const json& normalizer) {
    if (normalizer.is_null()) return;
    const std::string type = type_of(normalizer, "normalizer");
    if (type == "Lowercase") {
      spec_.lowercase = true;
    } else if (type == "Sequence") {
      for (const json& part : member(normalizer, "normalizers")) read_normalizer(part);
    } else {
      unknown("normalizer", type);
    }
  }

  void read_pre_tokenizer() {
    const json& pre_tokenizer = member(root_, "pre_tokenizer");
    if (pre_tokenizer.is_null()) unknown("pre_tokenizer", "null");
    const std::string type = type_of(pre_tokenizer, "pre_tokenizer");
    if (type == "Sequence") return read_split_and_bytes(member(pre_tokenizer, "pretokenizers"));
    if (type != "ByteLevel") unknown("pre_tokenizer", type);
    if (!flag_of(pre_tokenizer, "use_regex", true)) {
      unknown("pre_tokenizer ByteLevel with", "use_regex false");
    }
    spec_.add_prefix_space = flag_of(pre_tokenizer, "add_prefix_space", true);
  }

  // Split by a known expression, then ByteLevel without one of its own.
  void read_split_and_bytes(const json& parts) {
    if (!parts.is_array() || parts.size() != 2) unknown("pre_tokenizer Sequence", parts.dump());
    const json& split = parts[0];
    const json& bytes = parts[1];
    if (type_of(split, "pre_tokenizer") != "Split") unknown("pre_tokenizer", split.dump());
    if (type_of(bytes, "pre_tokenizer") != "ByteLevel") unknown("pre_tokenizer", bytes.dump());
    const json& pattern = member(split, "pattern");
    const std::string regex = pattern.is_object() ? text_of(pattern, "Regex", "") : "";
    const auto known = split_pattern_from_regex(regex);
    if (!known) unknown("pre_tokenizer Split with the pattern", pattern.dump());
    if (text_of(split, "behavior", "") != "Isolated" || flag_of(split, "invert", false)) {
      unknown("pre_tokenizer", split.dump());
    }
    if (flag_of(bytes, "use_regex", true)) {
      unknown("pre_tokenizer ByteLevel after Split with", "use_regex true");
    }
    if (flag_of(bytes, "add_prefix_space", true)) {
      unknown("pre_tokenizer ByteLevel after Split with", "add_prefix_space true");
    }
    spec_.split = *known;
  }

  void read_decoder() {
    const json& decoder = member(root_, "decoder");
    if (decoder.is_null()) unknown("decoder", "null");
    const std::string type = type_of(decoder, "decoder");
    if (type != "ByteLevel") unknown("decoder", type);
  }

  void read_post_processor(const json& processor) {
    if (processor.is_null()) return;
    const std::string type = type_of(processor, "post_processor");
    if (type == "ByteLevel") return;  // moves offsets only
    if (type == "Sequence") {
      for (const json& part : member(processor, "processors")) read_post_processor(part);
    } else if (type == "TemplateProcessing") {
      read_template(processor);
    } else {
      unknown("post_processor", type);
    }
  }

  // What stands before and after sequence A in the template of a single text.
  void read_template(const json& processor) {
    bool after = false;
    for (const json& piece : member(processor, "single")) {
      const json& special = piece.is_object() ? member(piece, "SpecialToken") : piece;
      if (piece.is_object() && has(piece, "Sequence")) {
        if (after) fail("has a post_processor template with two sequences for one text");
        after = true;
        continue;
      }
      if (!special.is_object()) fail("has a post_processor template that cannot be read");
      const std::string name = text_of(special, "id", "");
      const json& tokens = member(processor, "special_tokens");
      const json& known = tokens.is_object() ? member(tokens, name.c_str()) : tokens;
      const json& ids = known.is_object() ? member(known, "ids") : known;
      if (!ids.is_array()) fail(concat("has a post_processor template without ids for ", name));
      for (const json& id : ids) {
        (after ? spec_.suffix : spec_.prefix).push_back(id_of(id, name));
      }
    }
    if (!after) fail("has a post_processor template without a sequence");
  }

  // What write_tokenizer_json would not make of prefix and suffix is kept as it came.
  void keep_post_processor(const json& processor) {
    const auto known = [&](int32_t id) { return static_cast<size_t>(id) < spec_.tokens.size(); };
    const bool all_known = std::all_of(spec_.prefix.begin(), spec_.prefix.end(), known) &&
                           std::all_of(spec_.suffix.begin(), spec_.suffix.end(), known);
    if (!all_known || json(template_processor(spec_)) != processor) {
      spec_.post_processor = processor.dump();
    }
  }

  const json& root_;
  const std::string& name_;
  TokenizerSpec spec_;
  std::unordered_map<std::string, int32_t> ids_;
};

// Split by the pattern's expression, then ByteLevel without one of its own.
ordered_json split_and_bytes(const TokenizerSpec& spec) {
  return {{"type", "Sequence"},
          {"pretokenizers",
           {{{"type", "Split"},
             {"pattern", {{"Regex", regex_of(spec.split)}}},
             {"behavior", "Isolated"},
             {"invert", false}},
            {{"type", "ByteLevel"},
             {"add_prefix_space", false},
             {"trim_offsets", true},
             {"use_regex", false}}}}};
}

// A JSON string with what JSON wants escaped.
std::string quoted(const std::string& text) { return json(text).dump(); }

// {"a": 0, ...} over the lines of a file, written by hand: ordered_json takes quadratic time for
// it.
std::string write_vocabulary(const std::vector<std::string>& tokens) {
  std::string out = "{";
  for (size_t id = 0; id < tokens.size(); ++id) {
    out += concat(id ? "," : "", "\n      ", quoted(tokens[id]), ": ", id);
  }
  return out + "\n    }";
}

std::string write_merges(const TokenizerSpec& spec) {
  std::string out = "[";
  for (size_t i = 0; i < spec.merges.size(); ++i) {
    const auto [left, right] = spec.merges[i];
    out += concat(i ? "," : "", "\n      ",
                  quoted(spec.tokens[static_cast<size_t>(left)] + ' ' +
                         spec.tokens[static_cast<size_t>(right)]));
  }
  return out + (spec.merges.empty() ? "]" : "\n    ]");
}

}  // namespace

TokenizerSpec parse_tokenizer_json(std::string_view text, const std::string& name) {
  return Reader(parse_json(text, name), name).read();
}

std::string write_tokenizer_json(const TokenizerSpec& spec) {
  using Json = ordered_json;
  Json added = Json::array();
  for (const AddedToken& token : spec.added) {
    added.push_back({{"id", token.id},
                     {"content", token.content},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", token.normalized},
                     {"special", token.special}});
  }
  Json post_processor;
  if (!spec.post_processor.empty()) {
    post_processor = Json::parse(spec.post_processor);
  } else if (!spec.prefix.empty() || !spec.suffix.empty()) {
    post_processor = template_processor(spec);
  }
  const Json byte_level{{"type", "ByteLevel"},
                        {"add_prefix_space", spec.add_prefix_space},
                        {"trim_offsets", true},
                        {"use_regex", true}};
  const Json normalizer = spec.lowercase ? Json{{"type", "Lowercase"}} : Json();
  std::string out = "{\n";
  // Every part at the depth where it stands in the file.
  const auto part = [&](int depth, const char* key, const Json& value) {
    const std::string indent(static_cast<size_t>(depth) * 2, ' ');
    out += indent + quoted(key) + ": ";
    for (const char c : value.dump(2)) {
      out += c;
      if (c == '\n') out += indent;
    }
    out += ",\n";
  };
  part(1, "version", "1.0");
  part(1, "truncation", nullptr);
  part(1, "padding", nullptr);
  part(1, "added_tokens", added);
  part(1, "normalizer", normalizer);
  part(1, "pre_tokenizer", spec.split == SplitPattern::gpt2 ? byte_level : split_and_bytes(spec));
  part(1, "post_processor", post_processor);
  part(1, "decoder", byte_level);
  out += "  \"model\": {\n";
  part(2, "type", "BPE");
  part(2, "dropout", nullptr);
  part(2, "unk_token", spec.unk_token.empty() ? Json() : Json(spec.unk_token));
  part(2, "continuing_subword_prefix", nullptr);
  part(2, "end_of_word_suffix", nullptr);
  part(2, "fuse_unk", false);
  part(2, "byte_fallback", false);
  part(2, "ignore_merges", spec.ignore_merges);
  out += "    \"vocab\": " + write_vocabulary(spec.tokens) + ",\n";
  out += "    \"merges\": " + write_merges(spec) + "\n  }\n}\n";
  return out;
}

}  // namespace msltx::text
