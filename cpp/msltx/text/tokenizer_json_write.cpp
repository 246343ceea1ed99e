#include <algorithm>
#include <functional>

#include "msltx/base/error.h"
#include "msltx/text/model_json.h"
#include "msltx/text/normalizer.h"
#include "msltx/text/tokenizer_json.h"

namespace msltx::text {
namespace {

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
std::string quoted(const std::string& text) { return nlohmann::json(text).dump(); }

// As "left right", which every reader knows; as pairs where a token has a space itself, or begins
// as the line that readers of such text leave out.
std::string write_merges(const TokenizerSpec& spec) {
  const auto token = [&](int32_t id) -> const std::string& {
    return spec.tokens[static_cast<size_t>(id)];
  };
  const bool in_pairs = std::any_of(spec.merges.begin(), spec.merges.end(), [&](const auto& merge) {
    return token(merge.first).find(' ') != std::string::npos ||
           token(merge.second).find(' ') != std::string::npos ||
           token(merge.first).starts_with("#version");
  });
  std::string out = "[";
  for (size_t i = 0; i < spec.merges.size(); ++i) {
    const std::string &left = token(spec.merges[i].first), &right = token(spec.merges[i].second);
    out += concat(i ? "," : "", "\n      ",
                  in_pairs ? concat("[", quoted(left), ", ", quoted(right), "]")
                           : quoted(left + ' ' + right));
  }
  return out + (spec.merges.empty() ? "]" : "\n    ]");
}

ordered_json byte_level(const TokenizerSpec& spec) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", spec.add_prefix_space},
          {"trim_offsets", true},
          {"use_regex", true}};
}

std::string write_byte_level_bpe(const TokenizerSpec& spec) {
  std::string out = "{\n";
  const auto option = [&](const char* key, const ordered_json& value) {
    out += concat("    ", quoted(key), ": ", value.dump(), ",\n");
  };
  option("type", "BPE");
  option("dropout", nullptr);
  option("unk_token", spec.unk_token.empty() ? ordered_json() : ordered_json(spec.unk_token));
  option("continuing_subword_prefix", nullptr);
  option("end_of_word_suffix", nullptr);
  option("fuse_unk", false);
  option("byte_fallback", false);
  option("ignore_merges", spec.ignore_merges);
  return out + "    \"vocab\": " + write_vocabulary(spec.tokens) +
         ",\n    \"merges\": " + write_merges(spec) + "\n  }";
}

ordered_json own_json(const TokenizerSpec& spec) {
  ordered_json own = ordered_json::object();
  ordered_json roles = roles_json(spec.roles);
  if (!roles.empty()) own["roles"] = std::move(roles);
  if (!spec.training.empty()) own["training"] = ordered_json::parse(spec.training);
  return own;
}

ordered_json parsed(const std::string& text) {
  return text.empty() ? ordered_json() : ordered_json::parse(text);
}

}  // namespace

// [BOS] $A [EOS] as the Hugging Face library writes it.
ordered_json template_json(const TokenizerSpec& spec,
                           const std::function<std::string(int32_t)>& name) {
  ordered_json single = ordered_json::array(), second = ordered_json::array();
  ordered_json special = ordered_json::object();
  const auto add = [&](ordered_json& list, const std::vector<int32_t>& ids, int type_id) {
    for (const int32_t id : ids) {
      const std::string token = name(id);
      list.push_back({{"SpecialToken", {{"id", token}, {"type_id", type_id}}}});
      special[token] = {
          {"id", token}, {"ids", Json::array({id})}, {"tokens", Json::array({token})}};
    }
  };
  const auto sequence = [](const char* which, int type_id) {
    return ordered_json{{"Sequence", {{"id", which}, {"type_id", type_id}}}};
  };
  add(single, spec.prefix, 0);
  single.push_back(sequence("A", 0));
  add(single, spec.suffix, 0);
  second.push_back(sequence("B", 1));
  add(second, spec.suffix, 1);
  ordered_json pair = single;
  for (const ordered_json& piece : second) pair.push_back(piece);
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", special}};
}

ordered_json normalizer_json(const TokenizerSpec& spec) {
  if (!spec.normalizer.empty()) return parsed(spec.normalizer);
  return spec.lowercase ? ordered_json{{"type", "Lowercase"}} : ordered_json();
}

ordered_json pre_tokenizer_json(const TokenizerSpec& spec) {
  if (spec.model || !spec.pre_tokenizer.empty()) return parsed(spec.pre_tokenizer);
  return spec.split == SplitPattern::gpt2 ? byte_level(spec) : split_and_bytes(spec);
}

ordered_json decoder_json(const TokenizerSpec& spec) {
  return spec.model || !spec.decoder.empty() ? parsed(spec.decoder) : byte_level(spec);
}

ordered_json post_processor_json(const TokenizerSpec& spec,
                                 const std::function<std::string(int32_t)>& name) {
  if (!spec.post_processor.empty()) return parsed(spec.post_processor);
  if (spec.prefix.empty() && spec.suffix.empty()) return {};
  return template_json(spec, name);
}

std::string write_tokenizer_json(const TokenizerSpec& spec,
                                 const std::function<std::string(int32_t)>& name) {
  ordered_json added = ordered_json::array();
  for (const AddedToken& token : spec.added) {
    added.push_back({{"id", token.id},
                     {"content", token.content},
                     {"single_word", token.single_word},
                     {"lstrip", token.lstrip},
                     {"rstrip", token.rstrip},
                     {"normalized", token.normalized},
                     {"special", token.special}});
  }
  std::string out = "{\n";
  const auto part = [&](const char* key, const ordered_json& value) {
    out += "  " + quoted(key) + ": ";
    for (const char c : value.dump(2)) {
      out += c;
      if (c == '\n') out += "  ";
    }
    out += ",\n";
  };
  part("version", "1.0");
  part("truncation", parsed(spec.truncation));
  part("padding", parsed(spec.padding));
  part("added_tokens", added);
  part("normalizer", normalizer_json(spec));
  part("pre_tokenizer", pre_tokenizer_json(spec));
  part("post_processor", post_processor_json(spec, name));
  part("decoder", decoder_json(spec));
  std::string model;
  if (!spec.sentencepiece.empty()) {
    model = concat("{\n    \"type\": \"SentencePiece\",\n    \"file\": \"",
                   to_base64(spec.sentencepiece), "\"\n  }");
  } else {
    model = spec.model ? write_model(*spec.model) : write_byte_level_bpe(spec);
  }
  const ordered_json own = own_json(spec);
  if (!own.empty()) {
    // Behind the type, which readers may want first.
    model.insert(model.find(",\n") + 2,
                 concat("    ", quoted(kOwnMember), ": ", own.dump(), ",\n"));
  }
  return out + "  \"model\": " + model + "\n}\n";
}

}  // namespace msltx::text
