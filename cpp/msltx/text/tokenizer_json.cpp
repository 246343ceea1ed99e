#include "msltx/text/tokenizer_json.h"

#include <algorithm>
#include <unordered_map>

#include "msltx/base/error.h"
#include "msltx/text/byte_alphabet.h"
#include "msltx/text/decoder.h"
#include "msltx/text/json.h"
#include "msltx/text/json_fields.h"
#include "msltx/text/model_json.h"
#include "msltx/text/normalizer.h"
#include "msltx/text/post_processor.h"
#include "msltx/text/pre_tokenizer.h"

namespace msltx::text {
namespace {

using json = nlohmann::json;

// One reading of one file. Complaints are ValueErrors that go on after the file's name.
class Reader {
 public:
  explicit Reader(const json& root) : root_(root) {}

  TokenizerSpec read() {
    if (!root_.is_object()) throw ValueError("is not a JSON object");
    if (text_field(root_, "version", "1.0") != "1.0") {
      throw ValueError(concat("has version ", root_["version"].dump(), "; 1.0 is read"));
    }
    const json& model = member_of(root_, "model");
    if (!model.is_object()) throw ValueError("has no model");
    if (model_type(model) == "SentencePiece") {
      spec_ =
          sentencepiece_spec(from_base64(text_field(model, "file"), "model.file"), "model.file");
      read_own(model);
      return std::move(spec_);
    }
    read_own(model);
    read_normalizer();
    if (is_byte_level(model)) {
      read_byte_level(model);
    } else {
      read_other(model);
    }
    read_added_tokens();
    read_post_processor();
    spec_.truncation = written("truncation");
    spec_.padding = written("padding");
    return std::move(spec_);
  }

 private:
  std::string written(const char* key) const {
    const json& value = member_of(root_, key);
    return value.is_null() ? "" : value.dump();
  }

  // Whether the file amounts to byte-level BPE by one of the known patterns.
  bool is_byte_level(const json& model) {
    if (model_type(model) != "BPE") return false;
    const json& dropout = member_of(model, "dropout");
    if (!dropout.is_null() && dropout != 0.0) return false;  // read_model complains
    if (!text_field(model, "continuing_subword_prefix", "").empty() ||
        !text_field(model, "end_of_word_suffix", "").empty() ||
        flag_field(model, "byte_fallback", false)) {
      return false;
    }
    const json& decoder = member_of(root_, "decoder");
    if (decoder.is_null() || type_of(decoder, "decoder") != "ByteLevel") return false;
    const json& vocabulary = member_of(model, "vocab");
    if (!vocabulary.is_object()) return true;  // read_byte_level complains
    for (const char32_t c : byte_alphabet()) {
      std::string token;
      append_utf8(token, c);
      if (!vocabulary.contains(token)) return false;
    }
    return known_split(member_of(root_, "pre_tokenizer"));
  }

  // ByteLevel alone, or Split by a known expression before it.
  bool known_split(const json& pre_tokenizer) {
    if (pre_tokenizer.is_null()) return false;
    const std::string type = type_of(pre_tokenizer, "pre_tokenizer");
    if (type == "ByteLevel") {
      spec_.add_prefix_space = flag_field(pre_tokenizer, "add_prefix_space", true);
      return flag_field(pre_tokenizer, "use_regex", true);
    }
    const json& parts = member_of(pre_tokenizer, "pretokenizers");
    if (type != "Sequence" || !parts.is_array() || parts.size() != 2) return false;
    const json &split = parts[0], &bytes = parts[1];
    if (type_of(split, "pre_tokenizer") != "Split" ||
        type_of(bytes, "pre_tokenizer") != "ByteLevel") {
      return false;
    }
    const json& regex = member_of(member_of(split, "pattern"), "Regex");
    const auto known =
        regex.is_string() ? split_pattern_from_regex(regex.get<std::string>()) : std::nullopt;
    // Every known expression matches everything: removing what is between matches changes nothing.
    const std::string behavior = text_field(split, "behavior", "");
    const bool invert = flag_field(split, "invert", false);
    if (!known || !((behavior == "Isolated" && !invert) || (behavior == "Removed" && invert)) ||
        flag_field(bytes, "use_regex", true) || flag_field(bytes, "add_prefix_space", true)) {
      return false;
    }
    spec_.split = *known;
    return true;
  }

  void read_byte_level(const json& model) {
    spec_.ignore_merges = flag_field(model, "ignore_merges", false);
    spec_.unk_token = text_field(model, "unk_token", "");
    for (auto& [token, id] : read_vocabulary(model)) {
      const auto place = static_cast<size_t>(id);
      if (place >= spec_.tokens.size()) spec_.tokens.resize(place + 1);
      if (!spec_.tokens[place].empty()) {
        throw ValueError(concat("gives id ", id, " to ", spec_.tokens[place], " and to ", token));
      }
      spec_.tokens[place] = token;
      ids_.emplace(token, id);
    }
    const auto merged_id = [&](const std::string& token) {
      const auto found = ids_.find(token);
      if (found == ids_.end()) {
        throw ValueError(concat("merges ", token, ", which is not in its vocabulary"));
      }
      return found->second;
    };
    for (const auto& [left, right] : read_merges(model)) {
      spec_.merges.emplace_back(merged_id(left), merged_id(right));
    }
  }

  void read_other(const json& model) {
    spec_.add_prefix_space = false;
    spec_.split = SplitPattern::gpt2;
    spec_.model = read_model(model);
    make_pre_tokenizer(member_of(root_, "pre_tokenizer"));
    make_decoder(member_of(root_, "decoder"));
    spec_.pre_tokenizer = written("pre_tokenizer");
    spec_.decoder = written("decoder");
    const Vocabulary& vocabulary = spec_.model->vocabulary();
    for (int32_t id = 0; id < vocabulary.size(); ++id) {
      if (vocabulary.has(id)) ids_[vocabulary.token(id)] = id;
    }
  }

  void read_normalizer() {
    const json& normalizer = member_of(root_, "normalizer");
    if (normalizer.is_null()) return;
    make_normalizer(normalizer);
    const json& parts = member_of(normalizer, "normalizers");
    const bool alone = parts.is_array() && parts.size() == 1;
    if (type_of(alone ? parts[0] : normalizer, "normalizer") == "Lowercase") {
      spec_.lowercase = true;
    } else {
      spec_.normalizer = normalizer.dump();
    }
  }

  void read_added_tokens() {
    const json& list = member_of(root_, "added_tokens");
    if (list.is_null()) return;
    if (!list.is_array()) throw ValueError("has added_tokens that are no list");
    // New ones follow the model's tokens, counted without holes, as the library gives them.
    auto next = static_cast<int64_t>(ids_.size());
    for (const json& entry : list) {
      if (!entry.is_object()) throw ValueError(concat("has the added token ", entry.dump()));
      AddedToken token;
      token.content = text_field(entry, "content", "");
      if (token.content.empty()) {
        throw ValueError(concat("has the added token ", entry.dump(), " without content"));
      }
      const int64_t id = count_field(entry, "id");
      token.special = flag_field(entry, "special", false);
      token.normalized = flag_field(entry, "normalized", true);
      token.single_word = flag_field(entry, "single_word", false);
      token.lstrip = flag_field(entry, "lstrip", false);
      token.rstrip = flag_field(entry, "rstrip", false);
      const auto known = ids_.find(token.content);
      if (known == ids_.end()) {
        if (id != next) {
          throw ValueError(concat("gives the added token ", token.content, " the id ", id,
                                  "; the next one is ", next));
        }
        ids_.emplace(token.content, static_cast<int32_t>(id));
        ++next;
      } else if (known->second != id) {
        throw ValueError(concat("gives the added token ", token.content, " the id ", id,
                                " and in its vocabulary ", known->second));
      }
      token.id = static_cast<int32_t>(id);
      if (!spec_.model) {
        if (spec_.tokens.size() <= static_cast<size_t>(id)) {
          spec_.tokens.resize(static_cast<size_t>(id) + 1);
        }
        std::string& place = spec_.tokens[static_cast<size_t>(id)];
        if (!place.empty() && place != token.content) {
          throw ValueError(concat("gives the added token ", token.content, " the id ", id,
                                  " of the token ", place));
        }
        place = token.content;
      }
      spec_.added.push_back(std::move(token));
    }
  }

  // What write_tokenizer_json would not make of prefix and suffix is kept as it came.
  // What only msltx writes, where other libraries let it stand.
  void read_own(const json& model) {
    const json& own = member_of(model, kOwnMember);
    if (own.is_null()) return;
    spec_.roles = roles_from_json(member_of(own, "roles"));
    const json& training = member_of(own, "training");
    if (training.is_object()) spec_.training = training.dump();
  }

  void read_post_processor() {
    const json& processor = member_of(root_, "post_processor");
    if (processor.is_null()) return;
    if (const auto affixes = make_post_processor(processor)->affixes()) {
      spec_.prefix = affixes->prefix;
      spec_.suffix = affixes->suffix;
    }
    std::unordered_map<int32_t, std::string> names;
    for (const auto& [token, id] : ids_) names.emplace(id, token);
    const auto known = [&](int32_t id) { return names.contains(id); };
    const bool all_known = std::all_of(spec_.prefix.begin(), spec_.prefix.end(), known) &&
                           std::all_of(spec_.suffix.begin(), spec_.suffix.end(), known);
    const auto name = [&](int32_t id) { return names.at(id); };
    if (!all_known || json(template_json(spec_, name)) != processor) {
      spec_.post_processor = processor.dump();
    }
  }

  const json& root_;
  TokenizerSpec spec_;
  std::unordered_map<std::string, int32_t> ids_;
};

}  // namespace

TokenizerSpec parse_tokenizer_json(std::string_view text, const std::string& name) {
  const json root = parse_json(text, name);
  try {
    return Reader(root).read();
  } catch (const ValueError& error) {
    throw FileError(concat(name, " ", error.what()));
  }
}

}  // namespace msltx::text
