// Pairs of ids, and a hash table from them to places in a list.
#pragma once

#include <cstdint>
#include <vector>

#include "msltx/text/piece_table.h"

namespace msltx::text {

using Pair = uint64_t;  // left id << 32 | right id, so that pairs compare as HF compares them

inline Pair pair_of(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

// Open addressing from a pair to its place in the list of all pairs seen.
class PairIndex {
 public:
  PairIndex() : slots_(1 << 16) {}

  // The place of `pair`, `next` if it is new.
  uint32_t find_or_add(Pair pair, uint32_t next) {
    const uint64_t key = pair + 1;  // 0 marks a free slot
    for (uint64_t at = home(key);; at = (at + 1) & (slots_.size() - 1)) {
      Slot& slot = slots_[at];
      if (slot.key == key) return slot.place;
      if (slot.key != 0) continue;
      slot = {key, next};
      if (++used_ * 2 > slots_.size()) grow();
      return next;
    }
  }

 private:
  struct Slot {
    uint64_t key = 0;
    uint32_t place = 0;
  };
  uint64_t home(uint64_t key) const {
    return fold_product(key, 0x9E3779B97F4A7C15u) & (slots_.size() - 1);
  }
  void grow() {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.key == 0) continue;
      uint64_t at = home(slot.key);
      while (slots_[at].key != 0) at = (at + 1) & (slots_.size() - 1);
      slots_[at] = slot;
    }
  }
  std::vector<Slot> slots_;
  size_t used_ = 0;
};

}  // namespace msltx::text
