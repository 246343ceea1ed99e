// PieceCache: from a short pre-token to its ids. Words repeat, so most of a text is looked up here
// and never merged. Of fixed size, two entries a set, without locks: each caller at work has its
// own.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "msltx/base/arena.h"
#include "msltx/text/piece_table.h"

namespace msltx::text {

class PieceCache {
 public:
  static constexpr uint32_t kInlineIds = 3;
  struct Entry {  // half a cache line
    PieceKey key;
    uint32_t count = 0;
    int32_t ids[kInlineIds] = {};  // more than three: ids[0] is their place in the overflow
  };

  PieceCache() : memory_(kSets * sizeof(Set)), sets_(reinterpret_cast<Set*>(memory_.data())) {}

  // Where a piece is looked for, and brings it nearer.
  uint32_t prefetch(const PieceKey& key) const {
    const uint32_t place = place_of(key);
    __builtin_prefetch(&sets_[place]);
    return place;
  }

  // The entry of the piece, or null.
  const Entry* find(const PieceKey& key) const { return find(key, place_of(key)); }
  const Entry* find(const PieceKey& key, uint32_t place) const {
    const Set& set = sets_[place];
    // Either entry is as likely: chosen without a branch.
    const Entry* const entry = set.entries + static_cast<size_t>(set.entries[1].key == key);
    return entry->key == key ? entry : nullptr;
  }
  std::span<const int32_t> ids(const Entry& entry) const {
    return {entry.count <= kInlineIds ? entry.ids : overflow_.data() + entry.ids[0], entry.count};
  }

  // The piece is not there yet. Of its set the entry that came first goes.
  void put(const PieceKey& key, std::span<const int32_t> ids) {
    if (ids.size() > kInlineIds && overflow_.size() + ids.size() > kMaxOverflow) forget_overflow();
    Set& set = sets_[place_of(key)];
    set.entries[1] = set.entries[0];
    Entry& entry = set.entries[0];
    entry.key = key;
    entry.count = static_cast<uint32_t>(ids.size());
    if (ids.size() <= kInlineIds) {
      std::copy(ids.begin(), ids.end(), entry.ids);
      return;
    }
    entry.ids[0] = static_cast<int32_t>(overflow_.size());
    overflow_.insert(overflow_.end(), ids.begin(), ids.end());
  }

 private:
  struct alignas(64) Set {
    Entry entries[2];
  };
  static constexpr int64_t kSets = 1 << 17;        // 8 MiB; books have 70,000 words
  static constexpr size_t kMaxOverflow = 1 << 18;  // ids; then the entries that use it start over

  static uint32_t place_of(const PieceKey& key) {
    return static_cast<uint32_t>(key.hash() & (kSets - 1));
  }

  void forget_overflow() {
    for (int64_t i = 0; i < kSets; ++i) {
      for (Entry& entry : sets_[i].entries) {
        if (entry.count > kInlineIds) entry = {};
      }
    }
    overflow_.clear();
  }

  Arena memory_;  // zeroed, and made when first touched
  Set* sets_;
  std::vector<int32_t> overflow_;
};

}  // namespace msltx::text
