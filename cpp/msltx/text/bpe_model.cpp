#include "msltx/text/bpe_model.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <memory>

#include "msltx/base/error.h"
#include "msltx/text/byte_alphabet.h"
#include "msltx/text/utf8.h"

namespace msltx::text {
namespace {

// Up to this length a scan for the lowest rank beats a heap; words are hardly ever longer.
constexpr size_t kShortPiece = 48;

}  // namespace

MergeTable::MergeTable(size_t merges)
    : memory_(static_cast<int64_t>(std::bit_ceil(2 * merges + 2) * sizeof(Slot))),
      slots_(reinterpret_cast<Slot*>(memory_.data())),
      mask_(std::bit_ceil(2 * merges + 2) - 1) {
  std::uninitialized_fill_n(slots_, mask_ + 1, Slot());
}

void MergeTable::set(int32_t left, int32_t right, Result result) {
  const uint64_t key = key_of(left, right);
  uint64_t at = home(key);
  while (slots_[at].key != kFree && slots_[at].key != key) at = (at + 1) & mask_;
  slots_[at] = {key, result};
}

BpeModel::BpeModel(std::span<const std::string> tokens,
                   std::span<const std::pair<int32_t, int32_t>> merges,
                   std::span<const uint32_t> ranks)
    : merges_(merges.size()) {
  std::unordered_map<std::string_view, int32_t> ids;
  ids.reserve(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (!tokens[i].empty()) ids.emplace(tokens[i], static_cast<int32_t>(i));
  }

  for (size_t b = 0; b < byte_ids_.size(); ++b) {
    std::string token;
    append_utf8(token, byte_alphabet()[b]);
    const auto found = ids.find(token);
    if (found == ids.end()) {
      throw ValueError(concat("byte ", b, " (", token, ") has no token in the vocabulary"));
    }
    byte_ids_[b] = found->second;
  }

  if (!ranks.empty() && ranks.size() != merges.size()) {
    throw ValueError(concat("there are ", ranks.size(), " ranks for ", merges.size(), " merges"));
  }
  const auto known = [&](int32_t id) { return id >= 0 && static_cast<size_t>(id) < tokens.size(); };
  std::string made;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto [left, right] = merges[rank];
    if (!known(left) || !known(right)) {
      throw ValueError(concat("merge ", rank, " joins ids ", left, " and ", right, "; there are ",
                              tokens.size(), " tokens"));
    }
    made = tokens[static_cast<size_t>(left)];
    made += tokens[static_cast<size_t>(right)];
    const auto found = ids.find(made);
    if (found == ids.end()) {
      throw ValueError(concat("merge ", rank, " makes ", made, ", which is not in the vocabulary"));
    }
    merges_.set(left, right,
                {ranks.empty() ? static_cast<uint32_t>(rank) : ranks[rank], found->second});
  }
}

void BpeModel::encode_piece(std::string_view piece, Scratch& scratch,
                            std::vector<int32_t>& out) const {
  if (piece.size() <= kShortPiece) {
    encode_short(piece, out);
  } else if (piece.size() < MergeTable::kNone) {
    encode_long(piece, scratch, out);
  } else {
    throw ValueError(concat("a piece of text without a split has ", piece.size(),
                            " bytes; the limit is ", MergeTable::kNone - 1));
  }
}

void BpeModel::encode_short(std::string_view piece, std::vector<int32_t>& out) const {
  int32_t ids[kShortPiece];
  MergeTable::Result merges[kShortPiece];  // merges[i]: of ids[i] with ids[i + 1]
  size_t n = piece.size();
  for (size_t i = 0; i < n; ++i) ids[i] = byte_ids_[static_cast<unsigned char>(piece[i])];
  for (size_t i = 0; i + 1 < n; ++i) merges[i] = merges_.find(ids[i], ids[i + 1]);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].rank == MergeTable::kNone) break;
    ids[best] = merges[best].made;
    std::copy(ids + best + 2, ids + n, ids + best + 1);
    if (best + 2 < n) std::copy(merges + best + 2, merges + n - 1, merges + best + 1);
    --n;
    if (best > 0) merges[best - 1] = merges_.find(ids[best - 1], ids[best]);
    if (best + 1 < n) merges[best] = merges_.find(ids[best], ids[best + 1]);
  }
  out.insert(out.end(), ids, ids + n);
}

// A linked list of symbols and a heap of (rank, place): an entry is out of date when the pair at
// its place no longer has that rank.
void BpeModel::encode_long(std::string_view piece, Scratch& scratch,
                           std::vector<int32_t>& out) const {
  const auto n = static_cast<uint32_t>(piece.size());
  constexpr int32_t kGone = -1;
  constexpr uint32_t kFront = MergeTable::kNone;
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  symbols.resize(n);
  heap.clear();
  const auto entry = [](uint32_t rank, uint32_t place) { return uint64_t{rank} << 32 | place; };
  for (uint32_t i = 0; i < n; ++i) {
    symbols[i] = {byte_ids_[static_cast<unsigned char>(piece[i])], i == 0 ? kFront : i - 1, i + 1};
  }
  for (uint32_t i = 0; i + 1 < n; ++i) {
    const uint32_t rank = merges_.find(symbols[i].id, symbols[i + 1].id).rank;
    if (rank != MergeTable::kNone) heap.push_back(entry(rank, i));
  }
  const auto later = std::greater<>();
  std::make_heap(heap.begin(), heap.end(), later);
  const auto offer = [&](uint32_t place, uint32_t next) {
    const uint32_t rank = merges_.find(symbols[place].id, symbols[next].id).rank;
    if (rank == MergeTable::kNone) return;
    heap.push_back(entry(rank, place));
    std::push_heap(heap.begin(), heap.end(), later);
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const auto rank = static_cast<uint32_t>(heap.back() >> 32);
    const auto place = static_cast<uint32_t>(heap.back());
    heap.pop_back();
    auto& symbol = symbols[place];
    if (symbol.id == kGone || symbol.next == n) continue;
    auto& right = symbols[symbol.next];
    const MergeTable::Result merge = merges_.find(symbol.id, right.id);
    if (merge.rank != rank) continue;
    symbol.id = merge.made;
    symbol.next = right.next;
    right.id = kGone;
    if (symbol.next != n) {
      symbols[symbol.next].previous = place;
      offer(place, symbol.next);
    }
    if (symbol.previous != kFront) offer(symbol.previous, place);
  }
  for (uint32_t i = 0; i < n; i = symbols[i].next) out.push_back(symbols[i].id);
}

}  // namespace msltx::text
