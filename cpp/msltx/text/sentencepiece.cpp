#include "msltx/text/sentencepiece.h"

#include <algorithm>
#include <limits>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "msltx/base/error.h"
#include "msltx/text/byte_tokens.h"
#include "msltx/text/byte_trie.h"
#include "msltx/text/char_bpe.h"
#include "msltx/text/charsmap.h"
#include "msltx/text/unigram.h"
#include "msltx/text/utf8.h"

namespace msltx::text {
namespace {

using Change = AlignedText::Change;
using Kind = SentencePieceFile::Kind;

constexpr char32_t kSpaceSymbol = 0x2581;
constexpr std::string_view kSpace = "\xE2\x96\x81";
// Longer ones have no place in a sensible file, and their pairs would take long to find.
constexpr size_t kMaxPieceBytes = 1 << 12;

std::vector<std::pair<std::string_view, int32_t>> pieces_of_kind(const SentencePieceFile& file,
                                                                 Kind kind) {
  std::vector<std::pair<std::string_view, int32_t>> out;
  for (size_t id = 0; id < file.pieces.size(); ++id) {
    if (file.pieces[id].kind == kind) out.emplace_back(file.pieces[id].text, id);
  }
  return out;
}

uint32_t characters_of(std::string_view text) {
  uint32_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

// Replacements by the table's longest match, where no user-defined symbol begins; with
// remove_extra_whitespaces no space at the ends and one between words; then a space in front, and
// spaces as U+2581.
class SentencePieceNormalizer final : public Normalizer {
 public:
  explicit SentencePieceNormalizer(const SentencePieceFile& file)
      : symbols_(pieces_of_kind(file, Kind::user_defined)),
        map_(file.charsmap.empty() ? Charsmap() : Charsmap(file.charsmap)),
        prefix_(file.add_dummy_prefix),
        one_space_(file.remove_extra_whitespaces),
        space_(file.escape_whitespaces ? kSpaceSymbol : U' ') {}

  void normalize(AlignedText& text) const override {
    std::vector<Change> changes;
    changes.reserve(text.text().size());
    size_t removed = 0;  // characters before the first that stays
    bool after_space = one_space_;
    std::string_view rest = text.text();
    while (!rest.empty()) {
      auto [made, length] = first_of(rest);
      const uint32_t taken = characters_of(rest.substr(0, length));
      rest.remove_prefix(length);
      while (after_space && made.starts_with(' ')) made.remove_prefix(1);
      if (made.empty()) {
        drop(taken, changes, removed);
        continue;
      }
      append(made, taken, changes);
      after_space = one_space_ && made.ends_with(' ');
    }
    while (one_space_ && !changes.empty() && changes.back().character == space_) {
      const Change last = changes.back();
      changes.pop_back();
      if (last.change != 1) drop(static_cast<uint32_t>(1 - last.change), changes, removed);
    }
    // Text of nothing but what is left out is the space in front, alone.
    const bool alone = prefix_ && !one_space_ && changes.empty() && removed > 0;
    if (alone) {
      changes.push_back({space_, 1 - static_cast<int32_t>(removed)});
      removed = 0;
    }
    text.transform(changes, removed);
    if (prefix_ && !alone) text.prepend(space_ == kSpaceSymbol ? kSpace : " ");
  }

 private:
  struct Replaced {
    std::string_view made;
    size_t length;  // bytes that it stands for
  };

  Replaced first_of(std::string_view rest) const {
    size_t symbol = 0;
    symbols_.for_each_prefix(rest, [&](int32_t, size_t length) { symbol = length; });
    if (symbol > 0) return {rest.substr(0, symbol), symbol};
    // A damaged table may match a part of a character.
    const auto whole = [&](size_t length) {
      return length == rest.size() || (static_cast<unsigned char>(rest[length]) & 0xC0) != 0x80;
    };
    if (const auto match = map_.longest(rest); match && whole(match->length)) {
      return {match->replacement, match->length};
    }
    const char* p = rest.data();
    decode_utf8(p);
    const auto length = static_cast<size_t>(p - rest.data());
    return {rest.substr(0, length), length};
  }

  static void drop(uint32_t characters, std::vector<Change>& changes, size_t& removed) {
    if (changes.empty()) {
      removed += characters;
    } else {
      // A character that is new stands beside one that was there.
      auto at = changes.rbegin();
      while (at != changes.rend() && at->change == 1) ++at;
      if (at != changes.rend()) at->change -= static_cast<int32_t>(characters);
    }
  }

  void append(std::string_view made, uint32_t taken, std::vector<Change>& changes) const {
    const char* p = made.data();
    const char* const end = p + made.size();
    uint32_t written = 0;
    while (p < end) {
      const char32_t c = decode_utf8(p);
      changes.push_back({c == U' ' ? space_ : c, written < taken ? 0 : 1});
      ++written;
    }
    if (written < taken) changes.back().change -= static_cast<int32_t>(taken - written);
  }

  ByteTrie symbols_;
  Charsmap map_;
  bool prefix_, one_space_;
  char32_t space_;
};

class SentencePieceDecoder final : public TokenDecoder {
 public:
  explicit SentencePieceDecoder(const SentencePieceFile& file)
      : unk_surface_(file.unk_surface),
        drops_prefix_(file.add_dummy_prefix || file.remove_extra_whitespaces),
        drops_all_(file.remove_extra_whitespaces) {
    for (const auto& piece : file.pieces) {
      if (piece.kind == Kind::control) controls_.insert(piece.text);
      if (piece.kind == Kind::unknown) unknown_ = piece.text;
      if (piece.kind == Kind::byte) bytes_.emplace(piece.text, byte_of_token(piece.text));
    }
  }

  void decode(std::vector<std::string>& tokens) const override {
    std::string out, bytes;
    bool at_front = true, saw_prefix = false;
    for (const std::string& token : tokens) {
      if (const auto byte = bytes_.find(token); byte != bytes_.end()) {
        bytes.push_back(static_cast<char>(byte->second));
        continue;
      }
      append_bytes(bytes, out);
      at_front = at_front && !saw_prefix && out.empty();
      saw_prefix = false;
      if (controls_.contains(token)) continue;
      if (token == unknown_) {
        out += unk_surface_;
        continue;
      }
      std::string_view piece = token;
      if (at_front && drops_prefix_ && piece.starts_with(kSpace)) {
        piece.remove_prefix(kSpace.size());
        saw_prefix = !drops_all_;
      }
      append_spaced(piece, out);
    }
    append_bytes(bytes, out);
    tokens.assign(1, std::move(out));
  }

 private:
  static void append_spaced(std::string_view piece, std::string& out) {
    for (size_t at; (at = piece.find(kSpace)) != std::string_view::npos;) {
      out.append(piece.substr(0, at)).push_back(' ');
      piece.remove_prefix(at + kSpace.size());
    }
    out.append(piece);
  }

  // Whole characters as they are, every other byte as U+FFFD.
  static void append_bytes(std::string& bytes, std::string& out) {
    for (std::string_view rest = bytes; !rest.empty();) {
      size_t length = std::min<size_t>(4, rest.size());
      while (length > 1 && !is_character(rest.substr(0, length))) --length;
      if (is_character(rest.substr(0, length))) {
        out.append(rest.substr(0, length));
      } else {
        append_utf8(out, 0xFFFD);
      }
      rest.remove_prefix(length);
    }
    bytes.clear();
  }
  static bool is_character(std::string_view text) {
    return find_invalid_utf8(text) == kValid && characters_of(text) == 1;
  }

  std::unordered_set<std::string> controls_;
  std::unordered_map<std::string, int> bytes_;
  std::string unknown_, unk_surface_;
  bool drops_prefix_, drops_all_;
};

std::shared_ptr<const Model> make_unigram(const SentencePieceFile& file) {
  UnigramSpec spec{
      .unk_id = file.unk_id, .byte_fallback = file.byte_fallback, .float_scores = true};
  for (const auto& piece : file.pieces) {
    spec.tokens.push_back(piece.text);
    spec.scores.push_back(piece.score);
    spec.kinds.push_back(piece.kind == Kind::normal         ? UnigramSpec::Kind::normal
                         : piece.kind == Kind::user_defined ? UnigramSpec::Kind::user_defined
                                                            : UnigramSpec::Kind::hidden);
  }
  return std::make_shared<const Unigram>(std::move(spec));
}

std::shared_ptr<const Model> make_bpe(const SentencePieceFile& file) {
  std::vector<std::string> tokens;
  std::vector<double> scores;
  CharBpeSpec spec{.fuse_unk = true, .byte_fallback = file.byte_fallback};
  for (const auto& piece : file.pieces) {
    if (piece.text.size() > kMaxPieceBytes) {
      throw ValueError(
          concat("has a piece of ", piece.text.size(), " bytes; BPE reads up to ", kMaxPieceBytes));
    }
    if (piece.kind == Kind::unused) {
      throw ValueError(concat("has the unused piece ", piece.text, ", which BPE does not read"));
    }
    if (piece.kind == Kind::user_defined) {
      spec.symbols.push_back(static_cast<int32_t>(tokens.size()));
    }
    if (piece.kind == Kind::unknown) spec.unk_token = piece.text;
    tokens.push_back(piece.text);
    scores.push_back(piece.kind == Kind::normal ? double{piece.score}
                                                : -std::numeric_limits<double>::infinity());
  }
  Vocabulary vocabulary(std::move(tokens));
  std::vector<CharBpe::Merge> merges = CharBpe::merges_by_score(vocabulary, scores);
  return std::make_shared<const CharBpe>(std::move(vocabulary), std::move(merges), std::move(spec));
}

}  // namespace

std::shared_ptr<const Model> make_model(const SentencePieceFile& file) {
  if (file.whitespace_as_suffix) {
    throw ValueError("has treat_whitespace_as_suffix, which is not read");
  }
  for (const auto& piece : file.pieces) {
    if (piece.kind == Kind::byte && byte_of_token(piece.text) < 0) {
      throw ValueError(concat("has the byte piece ", piece.text, "; they are <0x00> to <0xFF>"));
    }
  }
  const auto size = static_cast<int64_t>(file.pieces.size());
  if (file.unk_id < 0 || file.unk_id >= size ||
      file.pieces[static_cast<size_t>(file.unk_id)].kind != Kind::unknown) {
    throw ValueError(concat("has unk_id ", file.unk_id, ", which is no unknown piece of ", size));
  }
  switch (file.model_type) {
    case SentencePieceFile::ModelType::unigram:
      return make_unigram(file);
    case SentencePieceFile::ModelType::bpe:
      return make_bpe(file);
    default:
      throw ValueError("has a model of words or characters; unigram and BPE are read");
  }
}

std::unique_ptr<const Normalizer> make_normalizer(const SentencePieceFile& file) {
  return std::make_unique<SentencePieceNormalizer>(file);
}

std::unique_ptr<const TokenDecoder> make_decoder(const SentencePieceFile& file) {
  return std::make_unique<SentencePieceDecoder>(file);
}

}  // namespace msltx::text
