#include "msltx/text/tokenizer.h"

#include <algorithm>
#include <array>

#include "msltx/base/error.h"
#include "msltx/text/bpe_trainer.h"
#include "msltx/text/byte_alphabet.h"
#include "msltx/text/tokenizer_json.h"
#include "msltx/text/tokenizer_state.h"
#include "msltx/text/unicode.h"
#include "msltx/text/word_counter.h"

namespace msltx::text {
namespace {

constexpr std::string_view kFileName = "tokenizer.json";

std::optional<int32_t> role(const std::vector<AddedToken>& added,
                            std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) {
    for (const AddedToken& token : added) {
      if (token.special && token.content == name) return token.id;
    }
  }
  return std::nullopt;
}

TokenRoles find_roles(const std::vector<AddedToken>& added) {
  return {.pad = role(added, {"[PAD]", "<pad>", "<|pad|>", "<|padding|>"}),
          .unk = role(added, {"[UNK]", "<unk>"}),
          .bos = role(added, {"[BOS]", "<bos>", "<s>", "<|begin_of_text|>", "<|startoftext|>",
                              "<|endoftext|>"}),
          .eos = role(added, {"[EOS]", "<eos>", "</s>", "<|end_of_text|>", "<|endoftext|>"})};
}

// Whether plain text can give the token: it is a byte's, or a merge makes it.
bool comes_from_bytes(const std::string& token, const TokenizerSpec& spec) {
  const auto bytes = from_byte_alphabet(token);
  if (!bytes || bytes->size() == 1) return bytes.has_value();
  return std::any_of(spec.merges.begin(), spec.merges.end(), [&](const auto& merge) {
    const auto size = static_cast<int32_t>(spec.tokens.size());
    const auto known = [&](int32_t id) { return id >= 0 && id < size; };
    return known(merge.first) && known(merge.second) &&
           token == spec.tokens[static_cast<size_t>(merge.first)] +
                        spec.tokens[static_cast<size_t>(merge.second)];
  });
}

void check_special_tokens(const std::vector<std::string>& names) {
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i].empty()) throw ValueError(concat("special token ", i, " is empty"));
    const size_t bad = find_invalid_utf8(names[i]);
    if (bad != kValid) {
      throw ValueError(concat("special token ", i, " has ", describe_invalid_utf8(names[i], bad)));
    }
    if (std::find(names.begin(), names.begin() + static_cast<ptrdiff_t>(i), names[i]) !=
        names.begin() + static_cast<ptrdiff_t>(i)) {
      throw ValueError(concat("special token ", names[i], " is given twice"));
    }
  }
}

BpeTrainerOptions bpe_options(const TrainOptions& options) {
  return {options.vocab_size, options.min_frequency, options.special_tokens};
}

}  // namespace

Tokenizer::Tokenizer(TokenizerSpec spec) {
  auto state = std::make_unique<State>();
  state->spec = std::move(spec);
  const auto& tokens = state->spec.tokens;
  const auto size = static_cast<int64_t>(tokens.size());
  state->ids.reserve(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (!tokens[i].empty() && !state->ids.try_emplace(tokens[i], static_cast<int32_t>(i)).second) {
      throw ValueError(concat("token ", tokens[i], " has two ids in the vocabulary"));
    }
    state->bytes.push_back(from_byte_alphabet(tokens[i]).value_or(tokens[i]));
  }
  state->special.resize(tokens.size());
  std::vector<std::pair<std::string, int32_t>> raw, normalized;
  for (const AddedToken& added : state->spec.added) {
    const auto found = state->ids.find(added.content);
    if (found == state->ids.end() || found->second != added.id) {
      throw ValueError(concat("added token ", added.content, " has id ", added.id,
                              ", where the vocabulary has another token"));
    }
    // Found in text as it is written, so that is what it decodes to, whatever bytes its letters
    // would stand for.
    std::string& bytes = state->bytes[static_cast<size_t>(added.id)];
    if (bytes != added.content && !comes_from_bytes(added.content, state->spec)) {
      bytes = added.content;
    }
    if (added.special) state->special[static_cast<size_t>(added.id)] = true;
    std::string content = added.content;
    if (added.normalized && state->spec.lowercase) {
      content.clear();
      append_lowercase(added.content, content);
    }
    (added.normalized ? normalized : raw).emplace_back(std::move(content), added.id);
  }
  for (const auto* ids : {&state->spec.prefix, &state->spec.suffix}) {
    for (const int32_t id : *ids) {
      if (id < 0 || id >= size) {
        throw ValueError(
            concat("the post-processor adds token id ", id, "; the vocabulary has ", size));
      }
    }
  }
  state->raw_matcher = TokenMatcher(std::move(raw));
  state->normalized_matcher = TokenMatcher(std::move(normalized));
  state->model = BpeModel(tokens, state->spec.merges, state->spec.ranks);
  if (state->spec.ignore_merges) {
    std::vector<bool> added(tokens.size());
    for (const AddedToken& token : state->spec.added) added[static_cast<size_t>(token.id)] = true;
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (tokens[i].empty() || added[i]) continue;
      state->whole_pieces.emplace(state->bytes[i], static_cast<int32_t>(i));
    }
  }
  state->roles = find_roles(state->spec.added);
  state_ = std::move(state);
}

Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::load(const Path& path) {
  std::error_code error;  // a path that cannot be looked at is read_file's to report
  const Path file = std::filesystem::is_directory(path, error) ? path / kFileName : path;
  return from_json(read_file(file), file.string());
}

Tokenizer Tokenizer::from_json(std::string_view json, const std::string& name) {
  TokenizerSpec spec = parse_tokenizer_json(json, name);
  try {
    return Tokenizer(std::move(spec));
  } catch (const ValueError& error) {
    throw FileError(concat(name, ": ", error.what()));
  }
}

std::string Tokenizer::to_json() const { return write_tokenizer_json(state_->spec); }

void Tokenizer::save(const Path& path) const { write_file(path, to_json()); }

void check(const TrainOptions& options) {
  if (options.model != "bpe") {
    throw ValueError(concat("model is ", options.model, "; it takes bpe"));
  }
  check_special_tokens(options.special_tokens);
  check(bpe_options(options));
}

Cleaning training_cleaning(const TrainOptions& options) {
  Cleaning cleaning = options.cleaning;
  cleaning.lowercase |= options.lowercase;
  return cleaning;
}

Tokenizer Tokenizer::train(std::span<const Path> files, const TrainOptions& options,
                           Executor& executor, const ProgressFn& progress) {
  check(options);
  WordCounter counter(training_cleaning(options), executor);
  int64_t total = 0;
  for (const Path& file : files) {
    std::error_code unknown;
    const auto size = std::filesystem::file_size(file, unknown);
    if (!unknown) total += static_cast<int64_t>(size);
  }
  int64_t done = 0;
  for (const Path& file : files) {
    int64_t in_file = 0;
    counter.add_file(file, options.invalid_utf8, [&](const Progress& p) {
      in_file = p.done;
      if (progress) progress({p.stage, done + in_file, total});
    });
    done += in_file;
  }
  return train(counter.take(), options, executor, progress);
}

Tokenizer Tokenizer::train(const PieceCounts& words, const TrainOptions& options,
                           Executor& executor, const ProgressFn& progress) {
  check(options);
  if (words.size() == 0) throw ValueError("there is no text to train a tokenizer on");
  const BpeTrainerOptions bpe = bpe_options(options);
  BpeVocabulary vocabulary;
  executor.run(
      [&] { vocabulary = train_bpe(words, bpe, progress, [&] { executor.check_cancelled(); }); });
  TokenizerSpec spec;
  spec.tokens = std::move(vocabulary.tokens);
  spec.merges = std::move(vocabulary.merges);
  spec.lowercase = options.lowercase;
  for (const std::string& name : options.special_tokens) {
    const auto at = std::find(spec.tokens.begin(), spec.tokens.end(), name);
    spec.added.push_back({name, static_cast<int32_t>(at - spec.tokens.begin()), true, false});
  }
  const TokenRoles roles = find_roles(spec.added);
  if (roles.bos) spec.prefix.push_back(*roles.bos);
  if (roles.eos) spec.suffix.push_back(*roles.eos);
  if (roles.unk) spec.unk_token = spec.tokens[static_cast<size_t>(*roles.unk)];
  return Tokenizer(std::move(spec));
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
  std::string out;
  for (const int32_t id : ids) {
    const std::string& bytes = token_bytes(id);
    if (!skip_special_tokens || !is_special(id)) out += bytes;
  }
  return find_invalid_utf8(out) == kValid ? out : replace_invalid_utf8(out);
}

int64_t Tokenizer::vocab_size() const { return static_cast<int64_t>(state_->spec.tokens.size()); }

std::optional<int32_t> Tokenizer::token_to_id(std::string_view token) const {
  const auto found = state_->ids.find(token);
  if (found == state_->ids.end()) return std::nullopt;
  return found->second;
}

const std::string& Tokenizer::id_to_token(int32_t id) const {
  return state_->token(id, state_->spec.tokens);
}

const std::string& Tokenizer::token_bytes(int32_t id) const {
  return state_->token(id, state_->bytes);
}

bool Tokenizer::is_special(int32_t id) const {
  return id >= 0 && id < vocab_size() && state_->special[static_cast<size_t>(id)];
}

const TokenRoles& Tokenizer::roles() const { return state_->roles; }

const TokenizerSpec& Tokenizer::spec() const { return state_->spec; }

std::string StreamDecoder::push(int32_t id) {
  const std::string& bytes = tokenizer_.token_bytes(id);
  if (!skip_special_tokens_ || !tokenizer_.is_special(id)) pending_ += bytes;
  const size_t ready = pending_.size() - incomplete_utf8_tail(pending_);
  std::string out = replace_invalid_utf8(std::string_view(pending_).substr(0, ready));
  pending_.erase(0, ready);
  return out;
}

std::string StreamDecoder::finish() {
  std::string out = replace_invalid_utf8(pending_);
  pending_.clear();
  return out;
}

}  // namespace msltx::text
