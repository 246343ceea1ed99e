// PieceIds: from pieces to ids, never changed once made. Short pieces stand in one open table, so
// that one read of memory finds most of them.
#pragma once

#include <bit>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "msltx/base/arena.h"
#include "msltx/text/piece_table.h"

namespace msltx::text {

class PieceIds {
 public:
  PieceIds() : PieceIds(std::vector<std::pair<std::string_view, int32_t>>()) {}
  // Of equal pieces the first one is found; an empty one never is. The views end with the call.
  explicit PieceIds(const std::vector<std::pair<std::string_view, int32_t>>& pieces)
      : mask_(std::bit_ceil(2 * pieces.size() + 2) - 1),
        memory_(static_cast<int64_t>((mask_ + 1) * sizeof(Slot))),
        slots_(reinterpret_cast<Slot*>(memory_.data())) {
    std::uninitialized_fill_n(slots_, mask_ + 1, Slot());
    for (const auto& [piece, id] : pieces) {
      if (piece.empty()) continue;
      if (!PieceKey::fits(piece)) {
        long_.emplace(piece, id);
        continue;
      }
      const PieceKey key = PieceKey::of(piece, piece.size());
      Slot& slot = slots_[place_of(key)];
      if (slot.key == PieceKey()) slot = {key, id};
    }
  }

  std::optional<int32_t> find(std::string_view piece) const {
    if (piece.empty()) return std::nullopt;
    if (!PieceKey::fits(piece)) {
      const auto found = long_.find(piece);
      return found == long_.end() ? std::nullopt : std::optional(found->second);
    }
    const PieceKey key = PieceKey::of(piece, piece.size());
    const Slot& slot = slots_[place_of(key)];
    return slot.key == key ? std::optional(slot.id) : std::nullopt;
  }

 private:
  struct Slot {
    PieceKey key;  // of no piece: the slot is free
    int32_t id = 0;
  };

  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view piece) const {
      return static_cast<size_t>(hash_bytes(piece));
    }
  };

  // Where the key is, or the free slot that says it is not.
  uint64_t place_of(const PieceKey& key) const {
    uint64_t at = key.hash() & mask_;
    while (!(slots_[at].key == key) && !(slots_[at].key == PieceKey())) at = (at + 1) & mask_;
    return at;
  }

  uint64_t mask_;  // slots - 1
  Arena memory_;
  Slot* slots_;
  std::unordered_map<std::string, int32_t, Hash, std::equal_to<>> long_;
};

}  // namespace msltx::text
