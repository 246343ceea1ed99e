// The whole pipeline: added tokens, normalizer, pre-tokenizer, model, post-processor, with the
// place in the text of every token. Byte-level BPE comes here for places only.
#include <algorithm>

#include "msltx/base/error.h"
#include "msltx/text/byte_alphabet.h"
#include "msltx/text/tokenizer.h"
#include "msltx/text/tokenizer_state.h"

namespace msltx::text {
namespace {

// That a window is padded to.
constexpr int64_t kMostTokens = int64_t{1} << 30;

// From bytes of a text to its characters.
class CharacterPlaces {
 public:
  explicit CharacterPlaces(std::string_view text) {
    places_.reserve(text.size());
    uint32_t count = 0;
    for (const char c : text) {
      if ((static_cast<unsigned char>(c) & 0xC0) != 0x80) ++count;
      places_.push_back(count - 1);
    }
  }
  // As the library converts them: what begins at the end of the text stays in bytes.
  TextSpan of(TextSpan bytes) const {
    if (bytes.begin >= places_.size()) return bytes;
    const uint32_t begin = places_[bytes.begin];
    if (bytes.end < places_.size()) return {begin, places_[bytes.end]};
    const size_t last = size_t{bytes.end} - 1;
    return {begin, last < places_.size() ? places_[last] + 1 : begin + 2};
  }

 private:
  std::vector<uint32_t> places_;  // by byte
};

}  // namespace

// Added tokens are looked for in the text as it came, then in what the normalizer makes of the
// rest.
std::vector<Piece> Tokenizer::State::pieces_of(std::string_view text, const Normalizer* with,
                                               bool tracked) const {
  std::vector<Piece> pieces;
  const AlignedText whole(text, tracked);
  const auto place = [](std::string_view part, const std::string& of) {
    const auto begin = static_cast<size_t>(part.data() - of.data());
    return std::pair(begin, begin + part.size());
  };
  const auto add_normalized = [&](AlignedText part) {
    if (with) with->normalize(part);
    if (part.empty()) return;
    if (normalized_matcher.empty()) {
      pieces.push_back({std::move(part)});
      return;
    }
    for_each_segment(
        normalized_matcher, part.text(),
        [&](std::string_view segment) {
          const auto [begin, end] = place(segment, part.text());
          pieces.push_back({part.slice(begin, end)});
        },
        [&](int32_t id, std::string_view match) {
          const auto [begin, end] = place(match, part.text());
          pieces.push_back({part.slice(begin, end), id});
        });
  };
  for_each_segment(
      raw_matcher, whole.text(),
      [&](std::string_view segment) {
        const auto [begin, end] = place(segment, whole.text());
        add_normalized(whole.slice(begin, end));
      },
      [&](int32_t id, std::string_view match) {
        const auto [begin, end] = place(match, whole.text());
        pieces.push_back({whole.slice(begin, end), id});
      });
  if (pre_tokenizer) pre_tokenizer->split(pieces);
  std::erase_if(pieces, [](const Piece& piece) { return piece.text.empty(); });
  return pieces;
}

// Into workspace.tokens.
void Tokenizer::State::tokenize(const std::string& piece, Workspace& workspace) const {
  workspace.tokens.clear();
  if (spec.model) {
    spec.model->tokenize(piece, workspace.model_scratch, workspace.tokens);
    return;
  }
  // The piece is written in the byte alphabet, and so are the tokens.
  workspace.piece_ids.clear();
  encode_piece(*from_byte_alphabet(piece), workspace, workspace.piece_ids);
  uint32_t at = 0;
  for (const int32_t id : workspace.piece_ids) {
    const auto end = at + static_cast<uint32_t>(tokens[static_cast<size_t>(id)].size());
    workspace.tokens.push_back({id, at, end});
    at = end;
  }
}

void Tokenizer::State::encode_through_pipeline(std::string_view text, const Normalizer* with,
                                               Workspace& workspace,
                                               std::vector<int32_t>& out) const {
  for (const Piece& piece : pieces_of(text, with, tracks_always)) {
    if (piece.token >= 0) {
      out.push_back(piece.token);
      continue;
    }
    const std::string& written = piece.text.text();
    const bool fits = PieceKey::fits(written);
    const PieceKey key = fits ? PieceKey::of(written, written.size()) : PieceKey();
    if (const auto* entry = fits ? workspace.cache.find(key) : nullptr) {
      const auto ids_of = workspace.cache.ids(*entry);
      out.insert(out.end(), ids_of.begin(), ids_of.end());
      continue;
    }
    tokenize(written, workspace);
    const size_t before = out.size();
    for (const PieceToken& token : workspace.tokens) out.push_back(token.id);
    if (fits) workspace.cache.put(key, std::span(out).subspan(before));
  }
}

// Without the post-processor.
Encoding Tokenizer::encode_places(std::string_view text) const {
  const size_t bad = find_invalid_utf8(text);
  if (bad != kValid) throw ValueError(concat("the text has ", describe_invalid_utf8(text, bad)));
  const Lease workspace(*state_);
  const CharacterPlaces places(text);
  Encoding encoding;
  const std::vector<Piece> pieces = state_->pieces_of(text, state_->normalizer.get(), true);
  for (size_t word = 0; word < pieces.size(); ++word) {
    const Piece& piece = pieces[word];
    const auto number = static_cast<int32_t>(word);
    if (piece.token >= 0) {
      const std::string& written = piece.text.text();
      encoding.push(piece.token, written, places.of(piece.text.original(0, written.size())), number,
                    0, false);
      continue;
    }
    state_->tokenize(piece.text.text(), *workspace);
    for (const PieceToken& token : (*workspace).tokens) {
      const bool as_written = state_->shown_as_written == token.id;
      encoding.push(token.id,
                    as_written ? piece.text.text().substr(token.begin, token.end - token.begin)
                               : state_->tokens[static_cast<size_t>(token.id)],
                    places.of(piece.text.original(token.begin, token.end)), number, 0, false);
    }
  }
  return encoding;
}

Encoding Tokenizer::encode_fully(std::string_view text, bool add_special_tokens) const {
  Encoding encoding = encode_places(text);
  if (state_->post_processor) state_->post_processor->process(encoding, add_special_tokens);
  return encoding;
}

std::vector<Encoding> Tokenizer::encode_batch_fully(std::span<const std::string_view> texts,
                                                    const BatchOptions& options,
                                                    Executor& executor) const {
  using Padding = BatchOptions::Padding;
  const PostProcessor* const processor = state_->post_processor.get();
  const int64_t added = options.add_special_tokens && processor ? processor->added() : 0;
  if (options.max_length && *options.max_length <= added) {
    throw ValueError(concat("max_length is ", *options.max_length, "; it takes more than the ",
                            added, " special tokens"));
  }
  const int64_t room = options.max_length ? *options.max_length - added : 0;
  if (options.stride < 0 || (options.max_length && options.stride >= room)) {
    throw ValueError(concat("stride is ", options.stride, "; it takes 0 to ", room - 1,
                            ", less than the tokens that a window has room for"));
  }
  if (options.pad_to_multiple_of < 1 || options.pad_to_multiple_of > kMostTokens) {
    throw ValueError(concat("pad_to_multiple_of is ", options.pad_to_multiple_of,
                            "; it takes 1 to ", kMostTokens));
  }
  if (options.padded_length < 0 || options.padded_length > kMostTokens) {
    throw ValueError(concat("padding is ", options.padded_length, "; it takes 0 to ", kMostTokens));
  }
  if (options.padding != Padding::none && !roles().pad) {
    throw ValueError("the tokenizer has no padding token to pad with");
  }
  std::vector<Encoding> out(texts.size());
  executor.parallel_for(static_cast<int64_t>(texts.size()), [&](int64_t task, int) {
    executor.check_cancelled();
    const auto i = static_cast<size_t>(task);
    out[i] = encode_places(texts[i]);
    if (options.max_length) out[i].truncate(room, options.stride, options.truncation_side);
    if (processor) processor->process(out[i], options.add_special_tokens);
  });
  if (options.padding == Padding::none) return out;
  int64_t length = options.padding == Padding::fixed ? options.padded_length : 0;
  if (options.padding == Padding::longest) {
    for (const Encoding& encoding : out) {
      length = std::max(length, static_cast<int64_t>(encoding.size()));
    }
  }
  const int64_t multiple = options.pad_to_multiple_of;
  length = (length + multiple - 1) / multiple * multiple;
  for (Encoding& encoding : out) {
    encoding.pad(length, *roles().pad, 0, id_to_token(*roles().pad), options.padding_side);
  }
  return out;
}

}  // namespace msltx::text
