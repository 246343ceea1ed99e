#include "msltx/text/char_bpe.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "msltx/base/error.h"
#include "msltx/text/utf8.h"

namespace msltx::text {
namespace {

// Up to this many symbols a scan for the lowest rank beats a heap.
constexpr size_t kFewSymbols = 48;

// How a character stands in its piece, as far as that changes its token.
constexpr int32_t kLater = 1;  // not first: it has the continuing prefix
constexpr int32_t kLast = 2;   // it has the word suffix

constexpr int32_t kGone = -1;
constexpr uint32_t kFront = MergeTable::kNone;

size_t character_length(char first) {
  const auto byte = static_cast<unsigned char>(first);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

}  // namespace

CharBpe::CharBpe(Vocabulary vocabulary, std::vector<Merge> merges, CharBpeSpec spec)
    : vocabulary_(std::move(vocabulary)),
      merges_(std::move(merges)),
      spec_(std::move(spec)),
      table_(merges_.size()),
      byte_ids_(byte_token_ids(vocabulary_)) {
  if (!spec_.unk_token.empty()) unk_id_ = vocabulary_.find(spec_.unk_token);
  const size_t prefix = spec_.continuing_prefix.size();
  std::string made;
  for (const auto [left, right, rank] : merges_) {
    if (!vocabulary_.has(left) || !vocabulary_.has(right)) {
      throw ValueError(concat("the merge of rank ", rank, " joins ids ", left, " and ", right,
                              ", of which the vocabulary lacks one"));
    }
    made = vocabulary_.token(left);
    const std::string& second = vocabulary_.token(right);
    const auto id =
        second.size() < prefix ? std::nullopt : vocabulary_.find(made.append(second, prefix));
    if (!id) {
      throw ValueError(concat("the merge of ", vocabulary_.token(left), " and ", second, " makes ",
                              made, ", which is not in the vocabulary"));
    }
    table_.set(left, right, {rank, *id});
  }
  add_characters();
  std::vector<std::pair<std::string_view, int32_t>> symbols;
  for (const int32_t id : spec_.symbols) symbols.emplace_back(vocabulary_.token(id), id);
  symbols_ = ByteTrie(std::move(symbols));
}

// Every token that is one character with what its place in a piece adds to it.
void CharBpe::add_characters() {
  const std::string& prefix = spec_.continuing_prefix;
  const std::string& suffix = spec_.word_suffix;
  struct Character {
    int32_t place;
    char32_t code;
    int32_t id;
  };
  std::vector<Character> found;
  for (int32_t id = 0; id < vocabulary_.size(); ++id) {
    if (!vocabulary_.has(id)) continue;
    for (const int32_t place : {0, kLater, kLast, kLater | kLast}) {
      if ((place & kLater && prefix.empty()) || (place & kLast && suffix.empty())) continue;
      std::string_view token = vocabulary_.token(id);
      if (place & kLater) {
        if (!token.starts_with(prefix)) continue;
        token.remove_prefix(prefix.size());
      }
      if (place & kLast) {
        if (!token.ends_with(suffix)) continue;
        token.remove_suffix(suffix.size());
      }
      if (token.empty() || token.size() != character_length(token[0]) ||
          find_invalid_utf8(token) != kValid) {
        continue;
      }
      const char* p = token.data();
      found.push_back({place, decode_utf8(p), id});
    }
  }
  characters_ = MergeTable(found.size());
  for (const auto [place, code, id] : found) {
    // Of equal tokens the vocabulary finds the last.
    characters_.set(place, static_cast<int32_t>(code), {0, id});
  }
}

std::vector<CharBpe::Merge> CharBpe::merges_by_score(const Vocabulary& vocabulary,
                                                     std::span<const double> scores) {
  if (scores.size() != static_cast<size_t>(vocabulary.size())) {
    throw ValueError(concat("there are ", scores.size(), " scores for ", vocabulary.size(),
                            " tokens; there is one for each"));
  }
  std::vector<int32_t> ids;
  const auto is_made = [&](int32_t id) {
    return vocabulary.has(id) && !std::isinf(scores[static_cast<size_t>(id)]);
  };
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    if (is_made(id)) ids.push_back(id);
  }
  const auto score = [&](int32_t id) { return scores[static_cast<size_t>(id)]; };
  std::stable_sort(ids.begin(), ids.end(),
                   [&](int32_t a, int32_t b) { return score(a) > score(b); });
  std::vector<Merge> merges;
  uint32_t rank = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i > 0 && score(ids[i]) != score(ids[i - 1])) ++rank;
    const std::string_view token = vocabulary.token(ids[i]);
    if (vocabulary.find(token) != ids[i]) continue;
    for (size_t at = 1; at < token.size(); ++at) {
      if ((static_cast<unsigned char>(token[at]) & 0xC0) == 0x80) continue;
      const auto left = vocabulary.find(token.substr(0, at));
      const auto right = left ? vocabulary.find(token.substr(at)) : std::nullopt;
      if (right && is_made(*left) && is_made(*right)) merges.push_back({*left, *right, rank});
    }
  }
  return merges;
}

// The piece as characters. Lengths add up to it, whatever an affix or a fallback adds.
void CharBpe::cut(std::string_view piece, std::vector<Symbol>& symbols) const {
  symbols.clear();
  uint32_t unknown = 0;  // bytes of an unknown token that is not yet there
  const auto add = [&](int32_t id, uint32_t length) { symbols.push_back({id, length, 0, 0}); };
  const auto end_unknown = [&] {
    if (unknown > 0) add(*unk_id_, unknown);
    unknown = 0;
  };
  std::string written;
  const int32_t later = spec_.continuing_prefix.empty() ? 0 : kLater;
  const int32_t last = spec_.word_suffix.empty() ? 0 : kLast;
  const char* p = piece.data();
  const char* const end = p + piece.size();
  while (p < end) {
    const char* const begin = p;
    if (!spec_.symbols.empty()) {
      int32_t symbol = kGone;
      size_t symbol_length = 0;
      symbols_.for_each_prefix({p, static_cast<size_t>(end - p)}, [&](int32_t id, size_t length) {
        symbol = id;
        symbol_length = length;
      });
      if (symbol != kGone) {
        end_unknown();
        add(symbol, static_cast<uint32_t>(symbol_length));
        p += symbol_length;
        continue;
      }
    }
    const auto code = static_cast<int32_t>(decode_utf8(p));
    const auto length = static_cast<uint32_t>(p - begin);
    const int32_t place = (begin == piece.data() ? 0 : later) | (p == end ? last : 0);
    const MergeTable::Result found = characters_.find(place, code);
    if (found.rank != MergeTable::kNone) {
      end_unknown();
      add(found.made, length);
      continue;
    }
    if (spec_.byte_fallback) {
      written.assign(place & kLater ? spec_.continuing_prefix : "");
      written.append(begin, p);
      if (place & kLast) written += spec_.word_suffix;
      const auto byte_id = [&](char c) { return byte_ids_[static_cast<unsigned char>(c)]; };
      if (std::all_of(written.begin(), written.end(),
                      [&](char c) { return byte_id(c) != kNoByteToken; })) {
        // An unknown token from before waits, and comes after the bytes, as in the Hugging Face
        // library.
        for (const char c : written) add(byte_id(c), 1);
        continue;
      }
    }
    if (spec_.unk_token.empty()) continue;
    if (!unk_id_) {
      throw ValueError(concat("the unknown token ", spec_.unk_token,
                              " is not in the vocabulary, and \"", piece, "\" needs it"));
    }
    if (!spec_.fuse_unk) end_unknown();
    unknown += length;
  }
  end_unknown();
}

// Merges in place; the number of symbols that remain.
uint32_t CharBpe::merge_few(std::vector<Symbol>& symbols) const {
  MergeTable::Result merges[kFewSymbols];  // merges[i]: of symbols[i] with symbols[i + 1]
  size_t n = symbols.size();
  const auto find = [&](size_t i) { return table_.find(symbols[i].id, symbols[i + 1].id); };
  for (size_t i = 0; i + 1 < n; ++i) merges[i] = find(i);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].rank == MergeTable::kNone) break;
    symbols[best].id = merges[best].made;
    symbols[best].length += symbols[best + 1].length;
    for (size_t i = best + 1; i + 1 < n; ++i) symbols[i] = symbols[i + 1];
    for (size_t i = best + 1; i + 2 < n; ++i) merges[i] = merges[i + 1];
    --n;
    if (best > 0) merges[best - 1] = find(best - 1);
    if (best + 1 < n) merges[best] = find(best);
  }
  return static_cast<uint32_t>(n);
}

// A linked list of symbols and a heap of (rank, place): an entry is out of date when the pair at
// its place no longer has that rank.
void CharBpe::merge_many(ModelScratch& scratch) const {
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  const auto n = static_cast<uint32_t>(symbols.size());
  heap.clear();
  const auto entry = [](uint32_t rank, uint32_t place) { return uint64_t{rank} << 32 | place; };
  for (uint32_t i = 0; i < n; ++i) {
    symbols[i].previous = i == 0 ? kFront : i - 1;
    symbols[i].next = i + 1;
  }
  for (uint32_t i = 0; i + 1 < n; ++i) {
    const uint32_t rank = table_.find(symbols[i].id, symbols[i + 1].id).rank;
    if (rank != MergeTable::kNone) heap.push_back(entry(rank, i));
  }
  const auto later = std::greater<>();
  std::make_heap(heap.begin(), heap.end(), later);
  const auto offer = [&](uint32_t place, uint32_t next) {
    const uint32_t rank = table_.find(symbols[place].id, symbols[next].id).rank;
    if (rank == MergeTable::kNone) return;
    heap.push_back(entry(rank, place));
    std::push_heap(heap.begin(), heap.end(), later);
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const auto rank = static_cast<uint32_t>(heap.back() >> 32);
    const auto place = static_cast<uint32_t>(heap.back());
    heap.pop_back();
    Symbol& symbol = symbols[place];
    if (symbol.id == kGone || symbol.next == n) continue;
    Symbol& right = symbols[symbol.next];
    const MergeTable::Result merge = table_.find(symbol.id, right.id);
    if (merge.rank != rank) continue;
    symbol.id = merge.made;
    symbol.length += right.length;
    symbol.next = right.next;
    right.id = kGone;
    if (symbol.next != n) {
      symbols[symbol.next].previous = place;
      offer(place, symbol.next);
    }
    if (symbol.previous != kFront) offer(symbol.previous, place);
  }
  size_t kept = 0;
  for (uint32_t i = 0; i < n; i = symbols[i].next) symbols[kept++] = symbols[i];
  symbols.resize(kept);
}

void CharBpe::tokenize(std::string_view piece, ModelScratch& scratch,
                       std::vector<PieceToken>& out) const {
  if (piece.empty()) return;
  const auto size = static_cast<uint32_t>(piece.size());
  if (spec_.ignore_merges) {
    if (const auto id = vocabulary_.find(piece)) {
      out.push_back({*id, 0, size});
      return;
    }
  }
  auto& symbols = scratch.symbols;
  cut(piece, symbols);
  if (symbols.size() <= kFewSymbols) {
    symbols.resize(merge_few(symbols));
  } else {
    merge_many(scratch);
  }
  uint32_t at = 0;
  for (const Symbol& symbol : symbols) {
    const uint32_t begin = std::min(at, size);
    at += symbol.length;
    out.push_back({symbol.id, begin, std::min(at, size)});
  }
}

}  // namespace msltx::text
