#include "msltx/text/unigram.h"

#include <algorithm>
#include <cfloat>
#include <limits>
#include <type_traits>
#include <utility>

#include "msltx/base/error.h"

namespace msltx::text {
namespace {

// An unknown character costs this much more than the least likely token, as in both libraries.
constexpr double kUnknownPenalty = 10.0;
// What SentencePiece takes off the score of a user-defined symbol.
constexpr double kUserDefinedPenalty = 0.1;

constexpr uint32_t kUnreached = std::numeric_limits<uint32_t>::max();
constexpr int32_t kNoUnknown = -1;  // no token has it

size_t character_length(char first) {
  const auto byte = static_cast<unsigned char>(first);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

}  // namespace

Unigram::Unigram(UnigramSpec spec) : spec_(std::move(spec)) {
  const size_t size = spec_.tokens.size();
  if (spec_.scores.size() != size) {
    throw ValueError(concat("the model Unigram has ", spec_.scores.size(), " scores for ", size,
                            " tokens; there is one for each"));
  }
  if (!spec_.kinds.empty() && spec_.kinds.size() != size) {
    throw ValueError(concat("the model Unigram has ", spec_.kinds.size(), " kinds for ", size,
                            " tokens; there is one for each"));
  }
  if (spec_.unk_id && (*spec_.unk_id < 0 || static_cast<size_t>(*spec_.unk_id) >= size)) {
    throw ValueError(concat("unk_id is ", *spec_.unk_id, "; the model Unigram has ids 0 to ",
                            static_cast<int64_t>(size) - 1));
  }
  vocabulary_ = Vocabulary(std::exchange(spec_.tokens, {}));
  byte_ids_ = byte_token_ids(vocabulary_);

  using Kind = UnigramSpec::Kind;
  const auto kind = [&](size_t id) { return spec_.kinds.empty() ? Kind::normal : spec_.kinds[id]; };
  double least = std::numeric_limits<double>::infinity();
  auto most = FLT_MIN;  // SentencePiece begins there, not below
  std::vector<std::pair<std::string_view, int32_t>> entries;
  for (size_t id = 0; id < size; ++id) {
    if (kind(id) == Kind::normal) {
      least = std::min(least, spec_.scores[id]);
      most = std::max(most, static_cast<float>(spec_.scores[id]));
    }
    if (kind(id) != Kind::hidden) {
      const std::string& token = vocabulary_.token(static_cast<int32_t>(id));
      entries.emplace_back(token, static_cast<int32_t>(id));
    }
  }
  trie_ = ByteTrie(std::move(entries));

  scores_.resize(size);
  for (size_t id = 0; id < size; ++id) {
    if (kind(id) == Kind::user_defined) {
      const auto length = static_cast<float>(vocabulary_.token(static_cast<int32_t>(id)).size());
      scores_[id] = double{length * most} - kUserDefinedPenalty;
    } else {
      scores_[id] =
          spec_.float_scores ? double{static_cast<float>(spec_.scores[id])} : spec_.scores[id];
    }
  }
  unk_score_ = spec_.float_scores
                   ? double{static_cast<float>(least) - static_cast<float>(kUnknownPenalty)}
                   : least - kUnknownPenalty;
}

// path[i]: the best way to the first i bytes, its score rounded to Score at every token.
template <class Score>
void Unigram::find_path(std::string_view piece, std::vector<ModelScratch::PathNode>& path) const {
  path.assign(piece.size() + 1, {0.0, kNoUnknown, kUnreached});
  const int32_t unk_id = spec_.unk_id.value_or(kNoUnknown);
  for (size_t begin = 0; begin < piece.size();) {
    const double so_far = path[begin].score;
    const size_t character = character_length(piece[begin]);
    bool has_character = false;
    const auto offer = [&](size_t end, int32_t id, double sum) {
      const auto score = static_cast<Score>(sum);
      auto& node = path[end];
      if (node.begin != kUnreached && !(score > node.score)) return false;
      node = {score, id, static_cast<uint32_t>(begin)};
      return true;
    };
    trie_.for_each_prefix(piece.substr(begin), [&](int32_t id, size_t length) {
      offer(begin + length, id, scores_[static_cast<size_t>(id)] + so_far);
      has_character |= length == character;
    });
    if (!has_character) {
      if (offer(begin + character, unk_id, unk_score_ + so_far) && !spec_.unk_id) {
        throw ValueError(concat("\"", piece.substr(begin, character),
                                "\" is in no token, and the model Unigram has no unknown token"));
      }
    }
    begin += character;
  }
}

// Appends a run of unknown characters, its last byte first.
void Unigram::append_unknown(std::string_view piece, uint32_t begin, uint32_t end,
                             std::vector<PieceToken>& out) const {
  const std::string_view run = piece.substr(begin, end - begin);
  // The text of the unknown token itself is found in text, too, and looks like it.
  const auto known = spec_.float_scores ? std::nullopt : vocabulary_.find(run);
  const auto byte_id = [&](char c) { return byte_ids_[static_cast<unsigned char>(c)]; };
  if (known) {
    out.push_back({*known, begin, end});
  } else if (spec_.byte_fallback && std::all_of(run.begin(), run.end(), [&](char c) {
               return byte_id(c) != kNoByteToken;
             })) {
    // Each byte stands for the whole run, as in the Hugging Face library.
    for (auto c = run.rbegin(); c != run.rend(); ++c) out.push_back({byte_id(*c), begin, end});
  } else {
    out.push_back({*spec_.unk_id, begin, end});
  }
}

void Unigram::tokenize(std::string_view piece, ModelScratch& scratch,
                       std::vector<PieceToken>& out) const {
  auto& path = scratch.path;
  if (spec_.float_scores) {
    find_path<float>(piece, path);
  } else {
    find_path<double>(piece, path);
  }
  const auto before = static_cast<ptrdiff_t>(out.size());
  const int32_t unk_id = spec_.unk_id.value_or(kNoUnknown);
  for (auto end = static_cast<uint32_t>(piece.size()); end > 0;) {
    uint32_t begin = path[end].begin;
    if (path[end].id == unk_id) {
      while (begin > 0 && path[begin].id == unk_id) begin = path[begin].begin;
      append_unknown(piece, begin, end, out);
    } else {
      out.push_back({path[end].id, begin, end});
    }
    end = begin;
  }
  std::reverse(out.begin() + before, out.end());
}

}  // namespace msltx::text
