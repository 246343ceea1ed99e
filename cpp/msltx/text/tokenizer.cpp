#include "msltx/text/tokenizer.h"

#include <algorithm>
#include <array>
#include <unordered_set>

#include "msltx/base/error.h"
#include "msltx/text/byte_alphabet.h"
#include "msltx/text/sentencepiece.h"
#include "msltx/text/sentencepiece_export.h"
#include "msltx/text/tiktoken.h"
#include "msltx/text/tokenizer_json.h"
#include "msltx/text/tokenizer_state.h"
#include "msltx/text/unigram.h"
#include "msltx/text/word_level.h"
#include "msltx/text/word_rules.h"
#include "msltx/text/wordpiece.h"

namespace msltx::text {
namespace {

constexpr std::string_view kFileName = "tokenizer.json";

// What the merges make.
std::unordered_set<std::string> merged_tokens(const TokenizerSpec& spec) {
  const auto size = static_cast<int32_t>(spec.tokens.size());
  const auto known = [&](int32_t id) { return id >= 0 && id < size; };
  std::unordered_set<std::string> made;
  for (const auto& [left, right] : spec.merges) {
    if (!known(left) || !known(right)) continue;
    made.insert(spec.tokens[static_cast<size_t>(left)] + spec.tokens[static_cast<size_t>(right)]);
  }
  return made;
}

}  // namespace

TokenizerSpec sentencepiece_spec(std::string bytes, const std::string& name) {
  const SentencePieceFile file = parse_sentencepiece(bytes, name);
  TokenizerSpec spec;
  try {
    spec.model = make_model(file);
  } catch (const ValueError& error) {
    throw FileError(concat(name, " ", error.what()));
  }
  using Kind = SentencePieceFile::Kind;
  for (size_t id = 0; id < file.pieces.size(); ++id) {
    const auto& [content, score, kind] = file.pieces[id];
    if (kind == Kind::control || kind == Kind::unknown) {
      spec.added.push_back({.content = content, .id = static_cast<int32_t>(id)});
    }
  }
  const auto size = static_cast<int32_t>(file.pieces.size());
  if (file.bos_id >= 0 && file.bos_id < size) spec.prefix.push_back(file.bos_id);
  spec.sentencepiece = std::move(bytes);
  return spec;
}

// Every token by id, the model's and the added ones.
void Tokenizer::State::make_vocabulary() {
  if (spec.model) {
    const Vocabulary& vocabulary = spec.model->vocabulary();
    tokens.resize(static_cast<size_t>(vocabulary.size()));
    for (int32_t id = 0; id < vocabulary.size(); ++id) {
      if (vocabulary.has(id)) tokens[static_cast<size_t>(id)] = vocabulary.token(id);
    }
    for (const AddedToken& added : spec.added) {
      const auto place = static_cast<size_t>(added.id);
      if (added.id < 0 || place > tokens.size() + spec.added.size()) {
        throw ValueError(concat("added token ", added.content, " has id ", added.id,
                                "; the vocabulary has ", tokens.size()));
      }
      if (place >= tokens.size()) tokens.resize(place + 1);
      if (tokens[place].empty()) tokens[place] = added.content;
    }
  } else {
    tokens = spec.tokens;
  }
  ids.reserve(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].empty()) continue;
    const bool fresh = ids.insert_or_assign(tokens[i], static_cast<int32_t>(i)).second;
    if (!fresh && !spec.model) {
      throw ValueError(concat("token ", tokens[i], " has two ids in the vocabulary"));
    }
  }
  special.resize(tokens.size());
  for (const AddedToken& added : spec.added) {
    const auto found = ids.find(added.content);
    if (found == ids.end() || found->second != added.id) {
      throw ValueError(concat("added token ", added.content, " has id ", added.id,
                              ", where the vocabulary has another token"));
    }
    if (added.special) special[static_cast<size_t>(added.id)] = true;
  }
}

void Tokenizer::State::make_components() {
  const auto name = [&](int32_t id) { return tokens[static_cast<size_t>(id)]; };
  for (const auto* list : {&spec.prefix, &spec.suffix}) {
    for (const int32_t id : *list) {
      if (id < 0 || static_cast<size_t>(id) >= tokens.size()) {
        throw ValueError(concat("the post-processor adds token id ", id, "; the vocabulary has ",
                                tokens.size()));
      }
    }
  }
  if (!spec.sentencepiece.empty()) return make_sentencepiece();
  normalizer = make_normalizer(Json(normalizer_json(spec)));
  pre_tokenizer = make_pre_tokenizer(Json(pre_tokenizer_json(spec)));
  decoder = make_decoder(Json(decoder_json(spec)));
  post_processor = make_post_processor(Json(post_processor_json(spec, name)));
  if (post_processor && post_processor->greatest_id() >= static_cast<int64_t>(tokens.size())) {
    throw ValueError(concat("the post-processor adds token id ", post_processor->greatest_id(),
                            "; the vocabulary has ", tokens.size()));
  }
  tracks_always = normalizer && spec.pre_tokenizer.find("\"first\"") != std::string::npos;
  if (const auto* unigram = dynamic_cast<const Unigram*>(spec.model.get())) {
    shown_as_written = unigram->spec().unk_id;
  }
  affixes_only = !post_processor || post_processor->affixes();
}

void Tokenizer::State::make_sentencepiece() {
  SentencePieceFile file = parse_sentencepiece(spec.sentencepiece, "the SentencePiece model");
  normalizer = make_normalizer(file);
  decoder = make_decoder(file);
  if (file.model_type == SentencePieceFile::ModelType::unigram) shown_as_written = file.unk_id;
  const auto role = [&](int32_t id) {
    return id >= 0 && static_cast<size_t>(id) < tokens.size() ? std::optional(id) : std::nullopt;
  };
  roles = {.pad = role(file.pad_id),
           .unk = role(file.unk_id),
           .bos = role(file.bos_id),
           .eos = role(file.eos_id)};
  // Text stays as it is but for its spaces: words are what they are alone.
  by_words = file.model_type == SentencePieceFile::ModelType::bpe && file.charsmap.empty() &&
             !file.remove_extra_whitespaces && file.escape_whitespaces &&
             merges_within_words(*spec.model);
  file.add_dummy_prefix = false;
  if (by_words) inner_normalizer = make_normalizer(file);
}

void Tokenizer::State::set_named_roles() {
  for (const Role& role : kRoles) {
    const auto& name = spec.roles.*role.token;
    if (!name) continue;
    const auto found = ids.find(*name);
    if (found == ids.end()) {
      throw ValueError(concat(role.name, "_token is ", *name, ", which is not in the vocabulary"));
    }
    roles.*role.id = found->second;
  }
}

void Tokenizer::State::make_matchers() {
  if (!spec.sentencepiece.empty()) return;
  std::vector<AddedToken> raw, normalized;
  for (AddedToken added : spec.added) {
    if (!added.normalized) {
      raw.push_back(std::move(added));
      continue;
    }
    if (normalizer) {
      AlignedText content(added.content, false);
      normalizer->normalize(content);
      if (content.text() != added.content) {
        normalized_added[added.id] = content.text();
        added.content = content.text();
      }
    }
    normalized.push_back(std::move(added));
  }
  raw_matcher = TokenMatcher(std::move(raw));
  normalized_matcher = TokenMatcher(std::move(normalized));
  // A token that is not found inside a word could be found in what such a one was passed over for.
  const bool single_words = std::any_of(spec.added.begin(), spec.added.end(),
                                        [](const AddedToken& added) { return added.single_word; });
  if (!spec.model || tracks_always || single_words || !normalized_matcher.empty()) return;
  const WordRules rules =
      find_word_rules(Json(normalizer_json(spec)), Json(pre_tokenizer_json(spec)), *spec.model);
  by_words = rules.hold;
  inner_normalizer = make_normalizer(rules.inner_normalizer);
}

void Tokenizer::State::make_byte_level() {
  for (const std::string& token : tokens) {
    bytes.push_back(from_byte_alphabet(token).value_or(token));
  }
  std::optional<std::unordered_set<std::string>> merged;  // asked for by few tokenizers
  for (const AddedToken& added : spec.added) {
    // Found in text as it is written, so that is what it decodes to, whatever bytes its letters
    // would stand for, unless plain text can give it: it is a byte's, or a merge makes it.
    std::string& as_bytes = bytes[static_cast<size_t>(added.id)];
    if (as_bytes == added.content || as_bytes.size() == 1) continue;
    if (!merged) merged = merged_tokens(spec);
    if (!merged->contains(added.content)) as_bytes = added.content;
  }
  bpe = BpeModel(tokens, spec.merges, spec.ranks);
  if (!spec.ignore_merges) return;
  std::vector<bool> is_added(tokens.size());
  for (const AddedToken& added : spec.added) is_added[static_cast<size_t>(added.id)] = true;
  std::vector<std::pair<std::string_view, int32_t>> pieces;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].empty() || is_added[i]) continue;
    pieces.emplace_back(bytes[i], static_cast<int32_t>(i));
  }
  whole_pieces = PieceIds(pieces);
}

Tokenizer::Tokenizer(TokenizerSpec spec) {
  auto state = std::make_unique<State>();
  state->spec = std::move(spec);
  state->make_vocabulary();
  state->make_components();
  state->make_matchers();
  if (state->byte_level()) state->make_byte_level();
  if (state->spec.sentencepiece.empty()) state->roles = find_roles(state->spec.added);
  state->set_named_roles();
  state_ = std::move(state);
}

Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

namespace {

TokenizerSpec load_tiktoken(const Path& path, const LoadOptions& options) {
  const auto known = known_encoding(path.stem().string());
  const auto split = options.split.empty() && known ? std::optional(known->split)
                                                    : split_pattern_from_name(options.split);
  if (!split) {
    throw ValueError(concat("split is ", options.split.empty() ? "not given" : options.split,
                            "; for ", path.string(),
                            " it takes gpt2, cl100k, o200k, llama3 or qwen2"));
  }
  const bool own = options.special_tokens.empty() && options.split.empty();
  return parse_tiktoken(read_file(path), path.string(), *split,
                        own ? known->special_tokens : options.special_tokens);
}

TokenizerSpec load_spec(const Path& path, const LoadOptions& options) {
  if (path.extension() == ".tiktoken") return load_tiktoken(path, options);
  if (!options.split.empty() || !options.special_tokens.empty()) {
    throw ValueError(
        concat("split and special_tokens are for .tiktoken files, not for ", path.string()));
  }
  if (path.extension() == ".model") return sentencepiece_spec(read_file(path), path.string());
  std::error_code error;  // a path that cannot be looked at is read_file's to report
  const Path file = std::filesystem::is_directory(path, error) ? path / kFileName : path;
  TokenizerSpec spec = parse_tokenizer_json(read_file(file), file.string());
  const RoleNames said = read_role_names(file.parent_path());
  for (const Role& role : kRoles) {
    if (said.*role.token) spec.roles.*role.token = said.*role.token;
  }
  return spec;
}

}  // namespace

Tokenizer Tokenizer::load(const Path& path, const LoadOptions& options) {
  TokenizerSpec spec = load_spec(path, options);
  for (const Role& role : kRoles) {
    if (options.roles.*role.token) spec.roles.*role.token = options.roles.*role.token;
  }
  try {
    return Tokenizer(std::move(spec));
  } catch (const ValueError& error) {
    throw FileError(concat(path.string(), ": ", error.what()));
  }
}

Tokenizer Tokenizer::from_json(std::string_view json, const std::string& name) {
  TokenizerSpec spec = parse_tokenizer_json(json, name);
  try {
    return Tokenizer(std::move(spec));
  } catch (const ValueError& error) {
    throw FileError(concat(name, ": ", error.what()));
  }
}

std::string Tokenizer::to_json() const {
  return write_tokenizer_json(state_->spec,
                              [&](int32_t id) { return state_->tokens[static_cast<size_t>(id)]; });
}

void Tokenizer::save(const Path& path) const {
  if (path.extension() == ".tiktoken") {
    throw ValueError(concat("cannot write ", path.string(),
                            ": .tiktoken files are read only; a tokenizer.json can be written"));
  }
  if (path.extension() == ".model") {
    write_file(path, write_sentencepiece(to_sentencepiece(state_->spec, state_->roles)));
  } else {
    write_file(path, to_json());
  }
}

const std::string& Tokenizer::State::token(int32_t id,
                                           const std::vector<std::string>& table) const {
  if (id < 0 || static_cast<size_t>(id) >= table.size()) {
    throw ValueError(
        concat("token id ", id, " is outside the vocabulary of ", table.size(), " tokens"));
  }
  return table[static_cast<size_t>(id)];
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  if (!is_byte_level()) {
    std::vector<std::string> tokens;
    tokens.reserve(ids.size());
    for (const int32_t id : ids) {
      const std::string& token = id_to_token(id);
      if (token.empty() || (skip_special_tokens && is_special(id))) continue;
      const auto normalized = state_->normalized_added.find(id);
      tokens.push_back(normalized == state_->normalized_added.end() ? token : normalized->second);
    }
    std::string out;
    if (state_->decoder) state_->decoder->decode(tokens);
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (!state_->decoder && i > 0) out += ' ';
      out += tokens[i];
    }
    return out;
  }
  std::string out;
  for (const int32_t id : ids) {
    const std::string& bytes = state_->token(id, state_->bytes);
    if (!skip_special_tokens || !is_special(id)) out += bytes;
  }
  return find_invalid_utf8(out) == kValid ? out : replace_invalid_utf8(out);
}

std::string_view Tokenizer::model_name() const {
  const Model* const model = state_->spec.model.get();
  if (dynamic_cast<const WordPiece*>(model)) return "wordpiece";
  if (dynamic_cast<const Unigram*>(model)) return "unigram";
  return dynamic_cast<const WordLevel*>(model) ? "word_level" : "bpe";
}

bool Tokenizer::is_byte_level() const { return state_->byte_level(); }

int64_t Tokenizer::vocab_size() const { return static_cast<int64_t>(state_->tokens.size()); }

std::optional<int32_t> Tokenizer::token_to_id(std::string_view token) const {
  const auto found = state_->ids.find(token);
  if (found == state_->ids.end()) return std::nullopt;
  return found->second;
}

const std::string& Tokenizer::id_to_token(int32_t id) const {
  return state_->token(id, state_->tokens);
}

std::string Tokenizer::token_bytes(int32_t id) const {
  if (is_byte_level()) return state_->token(id, state_->bytes);
  return decode({&id, 1});
}

bool Tokenizer::is_special(int32_t id) const {
  return id >= 0 && id < vocab_size() && state_->special[static_cast<size_t>(id)];
}

const TokenRoles& Tokenizer::roles() const { return state_->roles; }

const TokenizerSpec& Tokenizer::spec() const { return state_->spec; }

std::string StreamDecoder::push(int32_t id) {
  if (!tokenizer_.is_byte_level()) return push_through_decoder(id);
  const std::string bytes = tokenizer_.token_bytes(id);
  if (!skip_special_tokens_ || !tokenizer_.is_special(id)) pending_ += bytes;
  const size_t ready = pending_.size() - incomplete_utf8_tail(pending_);
  std::string out = replace_invalid_utf8(std::string_view(pending_).substr(0, ready));
  pending_.erase(0, ready);
  return out;
}

// Decodes what was shown last together with what is new, so that the decoder sees the neighbours;
// a text that ends with U+FFFD may be a part of a character, of three tokens at most, and waits.
std::string StreamDecoder::push_through_decoder(int32_t id) {
  constexpr size_t kLongestPart = 3;
  const bool skipped = skip_special_tokens_ && tokenizer_.is_special(id);
  if (tokenizer_.id_to_token(id).empty() || skipped) return "";  // the decoder never sees it
  ids_.push_back(id);
  size_t ready = ids_.size();
  std::string text = tokenizer_.decode(ids_, skip_special_tokens_);
  const bool in_parts = text.ends_with("\xEF\xBF\xBD");
  if (!in_parts) whole_ids_ = ready;
  if (in_parts || text.size() <= shown_.size()) {
    if (ready - shown_ids_ <= kLongestPart) return "";
    if (in_parts) ready = std::max(ready - kLongestPart, whole_ids_);
    text = tokenizer_.decode({ids_.data(), ready}, skip_special_tokens_);
  }
  std::string out = after_shown(text, ready);
  ids_.erase(ids_.begin(), ids_.begin() + static_cast<ptrdiff_t>(shown_ids_));
  whole_ids_ -= std::min(whole_ids_, shown_ids_);
  shown_ids_ = ready - shown_ids_;
  shown_ = tokenizer_.decode({ids_.data(), shown_ids_}, skip_special_tokens_);
  return out;
}

// Of `text`, that of the first `ready` tokens. A decoder may read what was shown otherwise once it
// sees more: then what is new stands alone.
std::string StreamDecoder::after_shown(const std::string& text, size_t ready) const {
  if (text.starts_with(shown_)) return text.substr(shown_.size());
  return tokenizer_.decode({ids_.data() + shown_ids_, ready - shown_ids_}, skip_special_tokens_);
}

std::string StreamDecoder::finish() {
  std::string out = replace_invalid_utf8(pending_);
  if (!ids_.empty()) {
    const std::string text = tokenizer_.decode(ids_, skip_special_tokens_);
    out += after_shown(text, ids_.size());
  }
  pending_.clear();
  ids_.clear();
  shown_.clear();
  shown_ids_ = 0;
  whole_ids_ = 0;
  return out;
}

}  // namespace msltx::text
