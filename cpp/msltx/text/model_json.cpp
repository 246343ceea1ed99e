#include "msltx/text/model_json.h"

#include "msltx/base/error.h"
#include "msltx/text/char_bpe.h"
#include "msltx/text/unigram.h"
#include "msltx/text/word_level.h"
#include "msltx/text/wordpiece.h"

namespace msltx::text {
namespace {

// Ids may have holes, but no more of them than this many times the tokens and some.
constexpr int64_t kSparsest = 16;
constexpr int64_t kSpareIds = 1 << 20;

int32_t id_of(const Json& value, const std::string& token, int64_t limit) {
  if (!value.is_number_integer() || value < 0 || value >= limit) {
    throw ValueError(
        concat("gives token ", token, " the id ", value.dump(), "; ids are 0 to ", limit - 1));
  }
  return value.get<int32_t>();
}

std::shared_ptr<const Model> read_bpe(const Json& model) {
  const Json& dropout = member_of(model, "dropout");
  if (!dropout.is_null() && dropout != 0.0) unknown_part("model option dropout", dropout.dump());
  CharBpeSpec spec;
  spec.unk_token = text_field(model, "unk_token", "");
  spec.continuing_prefix = text_field(model, "continuing_subword_prefix", "");
  spec.word_suffix = text_field(model, "end_of_word_suffix", "");
  spec.fuse_unk = flag_field(model, "fuse_unk", false);
  spec.byte_fallback = flag_field(model, "byte_fallback", false);
  spec.ignore_merges = flag_field(model, "ignore_merges", false);
  Vocabulary vocabulary(read_vocabulary(model));
  std::vector<CharBpe::Merge> merges;
  const auto id = [&](const std::string& token) {
    const auto found = vocabulary.find(token);
    if (!found) throw ValueError(concat("merges ", token, ", which is not in its vocabulary"));
    return *found;
  };
  for (const auto& [left, right] : read_merges(model)) {
    merges.push_back({id(left), id(right), static_cast<uint32_t>(merges.size())});
  }
  return std::make_shared<CharBpe>(std::move(vocabulary), std::move(merges), std::move(spec));
}

std::shared_ptr<const Model> read_unigram(const Json& model) {
  UnigramSpec spec;
  for (const Json& entry : list_field(model, "vocab")) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      wrong_field("vocab", entry, "a token and its score");
    }
    spec.tokens.push_back(entry[0].get<std::string>());
    spec.scores.push_back(entry[1].get<double>());
  }
  if (!member_of(model, "unk_id").is_null()) {
    const int64_t id = count_field(model, "unk_id");
    if (id >= static_cast<int64_t>(spec.tokens.size())) {
      throw ValueError(concat("has unk_id ", id, "; it has ", spec.tokens.size(), " tokens"));
    }
    spec.unk_id = static_cast<int32_t>(id);
  }
  spec.byte_fallback = flag_field(model, "byte_fallback", false);
  return std::make_shared<Unigram>(std::move(spec));
}

std::shared_ptr<const Model> read_wordpiece(const Json& model) {
  WordPieceSpec spec;
  spec.unk_token = text_field(model, "unk_token", spec.unk_token);
  spec.continuing_prefix = text_field(model, "continuing_subword_prefix", spec.continuing_prefix);
  spec.max_input_chars = count_field(model, "max_input_chars_per_word", spec.max_input_chars);
  return std::make_shared<WordPiece>(Vocabulary(read_vocabulary(model)), std::move(spec));
}

std::string quoted(const std::string& text) { return Json(text).dump(); }

std::string option(const char* key, const Json& value) {
  return concat("    ", quoted(key), ": ", value.dump(), ",\n");
}
Json or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

std::vector<std::string> tokens_of(const Vocabulary& vocabulary) {
  std::vector<std::string> tokens;
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    tokens.push_back(vocabulary.has(id) ? vocabulary.token(id) : "");
  }
  return tokens;
}

std::string write_bpe(const CharBpe& bpe) {
  const CharBpeSpec& spec = bpe.spec();
  const Vocabulary& vocabulary = bpe.vocabulary();
  std::string out =
      option("type", "BPE") + option("dropout", Json()) +
      option("unk_token", or_null(spec.unk_token)) +
      option("continuing_subword_prefix", or_null(spec.continuing_prefix)) +
      option("end_of_word_suffix", or_null(spec.word_suffix)) + option("fuse_unk", spec.fuse_unk) +
      option("byte_fallback", spec.byte_fallback) + option("ignore_merges", spec.ignore_merges);
  out += "    \"vocab\": " + write_vocabulary(tokens_of(vocabulary)) + ",\n    \"merges\": [";
  bool first = true;
  for (const CharBpe::Merge& merge : bpe.merges()) {
    // Tokens may hold spaces: in pairs, not joined by one.
    out += concat(first ? "" : ",", "\n      [", quoted(vocabulary.token(merge.left)), ", ",
                  quoted(vocabulary.token(merge.right)), "]");
    first = false;
  }
  return out + (first ? "]\n" : "\n    ]\n");
}

std::string write_unigram(const Unigram& unigram) {
  const UnigramSpec& spec = unigram.spec();
  std::string out = option("type", "Unigram") +
                    option("unk_id", spec.unk_id ? Json(*spec.unk_id) : Json()) +
                    option("byte_fallback", spec.byte_fallback) + "    \"vocab\": [";
  for (int32_t id = 0; id < unigram.vocabulary().size(); ++id) {
    out += concat(id ? "," : "", "\n      [", quoted(unigram.vocabulary().token(id)), ", ",
                  Json(spec.scores[static_cast<size_t>(id)]).dump(), "]");
  }
  return out + "\n    ]\n";
}

}  // namespace

std::string model_type(const Json& model) {
  const std::string type = text_field(model, "type", "");
  if (!type.empty()) return type;
  // Files of older versions do not say; the library tries these in this order.
  if (!member_of(model, "merges").is_null()) return "BPE";
  if (!member_of(model, "continuing_subword_prefix").is_null()) return "WordPiece";
  if (member_of(model, "vocab").is_array()) return "Unigram";
  return member_of(model, "vocab").is_object() ? "WordLevel" : "without a type";
}

std::vector<std::pair<std::string, int32_t>> read_vocabulary(const Json& model) {
  const Json& vocabulary = member_of(model, "vocab");
  if (!vocabulary.is_object()) throw ValueError("has no model.vocab");
  const int64_t limit = kSparsest * static_cast<int64_t>(vocabulary.size()) + kSpareIds;
  std::vector<std::pair<std::string, int32_t>> entries;
  entries.reserve(vocabulary.size());
  for (const auto& [token, id] : vocabulary.items()) {
    entries.emplace_back(token, id_of(id, token, limit));
  }
  return entries;
}

std::vector<std::pair<std::string, std::string>> read_merges(const Json& model) {
  const Json& merges = member_of(model, "merges");
  if (!merges.is_array()) throw ValueError("has no model.merges");
  std::vector<std::pair<std::string, std::string>> out;
  out.reserve(merges.size());
  for (const Json& merge : merges) {
    if (merge.is_string()) {
      const std::string text = merge.get<std::string>();
      if (text.starts_with("#version")) continue;
      const size_t space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
        throw ValueError(
            concat("has the merge \"", text, "\"; two tokens and a space are expected"));
      }
      out.emplace_back(text.substr(0, space), text.substr(space + 1));
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      out.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    } else {
      throw ValueError(concat("has the merge ", merge.dump(), "; two tokens are expected"));
    }
  }
  return out;
}

std::shared_ptr<const Model> read_model(const Json& model) {
  const std::string type = model_type(model);
  if (type == "BPE") return read_bpe(model);
  if (type == "Unigram") return read_unigram(model);
  if (type == "WordPiece") return read_wordpiece(model);
  if (type == "WordLevel") {
    return std::make_shared<WordLevel>(Vocabulary(read_vocabulary(model)),
                                       text_field(model, "unk_token"));
  }
  unknown_part("model", type);
}

std::string write_vocabulary(const std::vector<std::string>& tokens) {
  std::string out = "{";
  bool first = true;
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (tokens[id].empty()) continue;
    out += concat(first ? "" : ",", "\n      ", quoted(tokens[id]), ": ", id);
    first = false;
  }
  return out + "\n    }";
}

std::string write_model(const Model& model) {
  std::string out = "{\n";
  if (const auto* bpe = dynamic_cast<const CharBpe*>(&model)) {
    out += write_bpe(*bpe);
  } else if (const auto* unigram = dynamic_cast<const Unigram*>(&model)) {
    out += write_unigram(*unigram);
  } else if (const auto* wordpiece = dynamic_cast<const WordPiece*>(&model)) {
    const WordPieceSpec& spec = wordpiece->spec();
    out += option("type", "WordPiece") + option("unk_token", spec.unk_token) +
           option("continuing_subword_prefix", spec.continuing_prefix) +
           option("max_input_chars_per_word", spec.max_input_chars) +
           "    \"vocab\": " + write_vocabulary(tokens_of(wordpiece->vocabulary())) + "\n";
  } else if (const auto* words = dynamic_cast<const WordLevel*>(&model)) {
    out += option("type", "WordLevel") +
           "    \"vocab\": " + write_vocabulary(tokens_of(words->vocabulary())) +
           ",\n    \"unk_token\": " + quoted(words->unk_token()) + "\n";
  } else {
    throw ValueError("a tokenizer.json has no place for this model");
  }
  return out + "  }";
}

}  // namespace msltx::text
