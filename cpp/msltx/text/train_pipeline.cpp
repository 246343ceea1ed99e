#include "msltx/text/train_pipeline.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "msltx/base/error.h"
#include "msltx/text/regex.h"

namespace msltx::text {
namespace {

using nlohmann::ordered_json;

constexpr std::array<std::pair<std::string_view, TrainedModel>, 7> kModels{{
    {"bpe", TrainedModel::bpe},
    {"bytes", TrainedModel::bytes},
    {"char_bpe", TrainedModel::char_bpe},
    {"wordpiece", TrainedModel::wordpiece},
    {"unigram", TrainedModel::unigram},
    {"word_level", TrainedModel::word_level},
    {"chars", TrainedModel::chars},
}};

TrainedModel model_of(const std::string& name) {
  for (const auto& [known, model] : kModels) {
    if (name == known) return model;
  }
  throw ValueError(
      concat("model is ", name,
             "; it takes bpe, bytes, char_bpe, wordpiece, unigram, word_level or chars"));
}

std::string usual_split(TrainedModel model) {
  switch (model) {
    case TrainedModel::wordpiece:
      return "bert";
    case TrainedModel::unigram:
      return "metaspace";
    case TrainedModel::char_bpe:
    case TrainedModel::word_level:
      return "whitespace";
    default:
      return "gpt2";
  }
}

bool is_word(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

ordered_json sequence(const char* key, std::vector<ordered_json> parts) {
  std::erase_if(parts, [](const ordered_json& part) { return part.is_null(); });
  if (parts.empty()) return {};
  if (parts.size() == 1) return parts[0];
  return {{"type", "Sequence"}, {key, parts}};
}

ordered_json split_by(std::string_view regex) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", regex}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

ordered_json of_type(const char* type) { return {{"type", type}}; }

ordered_json metaspace() {
  return {{"type", "Metaspace"},
          {"replacement", "\u2581"},
          {"prepend_scheme", "always"},
          {"split", true}};
}

// As SentencePiece treats text: white space of any kind is a space, and runs and ends of it go.
ordered_json one_space(const ordered_json& lowercase) {
  const auto replace = [](const char* regex, const char* by) {
    return ordered_json{{"type", "Replace"}, {"pattern", {{"Regex", regex}}}, {"content", by}};
  };
  return sequence("normalizers",
                  {of_type("Nmt"), replace(" {2,}", " "), replace("^ | $", ""), lowercase});
}

class Maker {
 public:
  explicit Maker(const TrainOptions& options)
      : options_(options), split_(options.split), made_{.model = model_of(options.model)} {
    made_.over_bytes = is(TrainedModel::bpe) || is(TrainedModel::bytes);
    if (split_.empty()) split_ = usual_split(made_.model);
  }

  TrainPipeline make() {
    check_options();
    if (options_.lowercase) made_.normalizer = of_type("Lowercase");
    if (is(TrainedModel::chars)) {
      made_.by_word = true;  // only characters are counted
    } else {
      set_cut();
    }
    set_affixes();
    set_decoder();
    return std::move(made_);
  }

 private:
  bool is(TrainedModel model) const { return made_.model == model; }

  void refuse(bool given, const char* option, const char* models) const {
    if (given) {
      throw ValueError(
          concat(option, " is given for the model ", options_.model, "; it is for ", models));
    }
  }

  void check_options() const {
    const bool affixes = is(TrainedModel::wordpiece) || is(TrainedModel::char_bpe);
    const bool bytes =
        is(TrainedModel::char_bpe) || is(TrainedModel::unigram) || is(TrainedModel::chars);
    const bool letters = bytes || is(TrainedModel::wordpiece);
    refuse(options_.continuing_prefix && !affixes, "continuing_prefix", "wordpiece and char_bpe");
    refuse(options_.word_suffix && !is(TrainedModel::char_bpe), "word_suffix", "char_bpe");
    refuse(options_.byte_fallback && !bytes, "byte_fallback", "char_bpe, unigram and chars");
    refuse(options_.alphabet_limit != 0 && !letters, "alphabet_limit",
           "char_bpe, wordpiece, unigram and chars");
    refuse(options_.character_coverage && !letters, "character_coverage",
           "char_bpe, wordpiece, unigram and chars");
    refuse(!options_.split.empty() && is(TrainedModel::chars), "split", "the other models");
    refuse(
        options_.max_token_length != 0 && (is(TrainedModel::chars) || is(TrainedModel::word_level)),
        "max_token_length", "bpe, char_bpe, wordpiece and unigram");
  }

  void set_cut() {
    made_.pattern = split_pattern_from_name(split_);
    if (made_.pattern) {
      if (!made_.over_bytes) made_.cut = split_by(regex_of(*made_.pattern));
      return;
    }
    if (!is_word(split_)) {
      made_.cut = split_by(split_);
      const Regex readable(split_);  // refuses what is no expression
      return;
    }
    made_.by_word = true;
    if (split_ == "bert") {
      made_.cut = of_type("BertPreTokenizer");
      if (is(TrainedModel::wordpiece)) {
        made_.normalizer = {{"type", "BertNormalizer"},
                            {"clean_text", true},
                            {"handle_chinese_chars", true},
                            {"strip_accents", nullptr},
                            {"lowercase", options_.lowercase}};
      }
    } else if (split_ == "whitespace") {
      made_.cut = of_type("Whitespace");
    } else if (split_ == "metaspace") {
      made_.cut = metaspace();
      made_.normalizer = one_space(made_.normalizer);
    } else if (split_ == "digits") {
      const ordered_json digits{{"type", "Digits"}, {"individual_digits", true}};
      const ordered_json words =
          made_.over_bytes ? split_by(regex_of(SplitPattern::gpt2)) : of_type("Whitespace");
      made_.cut = sequence("pretokenizers", {digits, words});
      made_.by_word = !made_.over_bytes;
    } else {
      throw ValueError(concat("split is ", split_,
                              "; it takes gpt2, cl100k, o200k, llama3, qwen2, bert, whitespace, "
                              "metaspace, digits or a regular expression"));
    }
  }

  // Whether pieces come without the spaces around them.
  bool drops_spaces() const {
    return split_ == "bert" || split_ == "whitespace" || (split_ == "digits" && !made_.over_bytes);
  }

  void set_affixes() {
    if (is(TrainedModel::wordpiece)) {
      made_.continuing_prefix = options_.continuing_prefix.value_or("##");
    } else if (is(TrainedModel::char_bpe)) {
      made_.continuing_prefix = options_.continuing_prefix.value_or("");
      const bool usual = drops_spaces() && !options_.continuing_prefix;
      made_.word_suffix = options_.word_suffix.value_or(usual ? "</w>" : "");
    }
  }

  void set_decoder() {
    if (made_.over_bytes) {
      made_.decoder = {{"type", "ByteLevel"},
                       {"add_prefix_space", false},
                       {"trim_offsets", true},
                       {"use_regex", true}};
    } else if (!made_.continuing_prefix.empty()) {
      made_.decoder = {{"type", "WordPiece"},
                       {"prefix", made_.continuing_prefix},
                       {"cleanup", is(TrainedModel::wordpiece)}};
    } else if (!made_.word_suffix.empty()) {
      made_.decoder = {{"type", "BPEDecoder"}, {"suffix", made_.word_suffix}};
    } else if (split_ == "metaspace") {
      made_.decoder = options_.byte_fallback ? spaces_and_bytes() : metaspace();
    } else if (!drops_spaces() || is(TrainedModel::chars)) {
      const ordered_json bytes = options_.byte_fallback ? of_type("ByteFallback") : ordered_json();
      made_.decoder = sequence("decoders", {bytes, of_type("Fuse")});
    }
  }

  static ordered_json spaces_and_bytes() {
    return sequence("decoders",
                    {{{"type", "Replace"}, {"pattern", {{"String", "\u2581"}}}, {"content", " "}},
                     of_type("ByteFallback"),
                     of_type("Fuse"),
                     {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}});
  }

  const TrainOptions& options_;
  std::string split_;
  TrainPipeline made_;
};

}  // namespace

ordered_json TrainPipeline::pre_tokenizer() const {
  if (!over_bytes) return cut;
  const ordered_json bytes{{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", true},
                           {"use_regex", false}};
  std::vector<ordered_json> parts;
  if (cut.contains("pretokenizers")) {
    for (const ordered_json& part : cut["pretokenizers"]) parts.push_back(part);
  } else {
    parts.push_back(cut);
  }
  parts.push_back(bytes);
  return sequence("pretokenizers", parts);
}

TrainPipeline make_train_pipeline(const TrainOptions& options) { return Maker(options).make(); }

PieceCutter::PieceCutter(const TrainPipeline& pipeline)
    : normalizer_(make_normalizer(Json(pipeline.normalizer))),
      pre_tokenizer_(make_pre_tokenizer(Json(pipeline.cut))) {}

void PieceCutter::count(std::string_view text, int64_t count, PieceCounts& counts) const {
  std::vector<Piece> pieces;
  pieces.push_back({AlignedText(text, false)});
  if (normalizer_) normalizer_->normalize(pieces[0].text);
  if (pre_tokenizer_) pre_tokenizer_->split(pieces);
  for (const Piece& piece : pieces) {
    const std::string& written = piece.text.text();
    if (!written.empty()) counts.add(written, written.size(), count);
  }
}

}  // namespace msltx::text
