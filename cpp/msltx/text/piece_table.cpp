#include "msltx/text/piece_table.h"

namespace msltx::text {

uint64_t hash_bytes(std::string_view bytes) {
  // Odd constants with about half their bits set; any would do, but these must never change.
  constexpr uint64_t kSeed = 0x8BB84B93962EACC9u;
  constexpr uint64_t kMultiplier = 0x2D358DCCAA6C78A5u;
  uint64_t hash = kSeed ^ bytes.size();
  const char* p = bytes.data();
  size_t left = bytes.size();
  uint64_t word = 0;
  for (; left >= 8; p += 8, left -= 8) {
    std::memcpy(&word, p, 8);
    hash = fold_product(hash ^ word, kMultiplier) + kSeed;
  }
  word = 0;
  std::memcpy(&word, p, left);
  hash = fold_product(hash ^ word, kMultiplier) + kSeed;
  return fold_product(hash ^ kSeed, kMultiplier);
}

void PieceCounts::add_long(std::string_view piece, int64_t count) {
  const uint64_t hash = hash_bytes(piece);
  uint64_t at = hash & (slots_.size() - 1);
  for (; slots_[at].count != 0; at = (at + 1) & (slots_.size() - 1)) {
    Slot& slot = slots_[at];
    if (slot.key.high >> 56 == kLong && slot.key.low == hash && long_piece(slot.key) == piece) {
      slot.count += count;
      return;
    }
  }
  const PieceKey key{hash, kLong << 56 | long_.size()};
  const uint64_t length = piece.size();
  long_.append(reinterpret_cast<const char*>(&length), sizeof length);
  long_ += piece;
  insert(at, key, count);
}

void PieceCounts::grow() {
  std::vector<Slot> old(slots_.size() * 2);
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.count == 0) continue;
    uint64_t at = home(slot.key) & (slots_.size() - 1);
    while (slots_[at].count != 0) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = slot;
  }
}

void PieceCounts::absorb(PieceCounts& other) {
  if (used_ < other.used_) std::swap(*this, other);
  other.for_each([&](std::string_view piece, int64_t count) { add(piece, 0, count); });
  other = PieceCounts();
}

}  // namespace msltx::text
