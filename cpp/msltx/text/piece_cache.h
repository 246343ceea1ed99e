// PieceCache: from a short pre-token to its ids. Words repeat, so most of a text is looked up here
// and never merged. Of fixed size, direct-mapped, without locks: each caller at work has its own.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

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

  PieceCache() : entries_(kEntries) {}

  // The entry of the piece, or null.
  const Entry* find(const PieceKey& key) const {
    const Entry& entry = entries_[key.hash() & (kEntries - 1)];
    return entry.key == key ? &entry : nullptr;
  }
  std::span<const int32_t> overflow(const Entry& entry) const {
    return {overflow_.data() + entry.ids[0], entry.count};
  }

  void put(const PieceKey& key, std::span<const int32_t> ids) {
    Entry& entry = entries_[key.hash() & (kEntries - 1)];
    entry.key = key;
    entry.count = static_cast<uint32_t>(ids.size());
    if (ids.size() <= kInlineIds) {
      std::copy(ids.begin(), ids.end(), entry.ids);
      return;
    }
    if (overflow_.size() + ids.size() > kMaxOverflow) {
      forget_overflow();
      entry.key = key;
      entry.count = static_cast<uint32_t>(ids.size());
    }
    entry.ids[0] = static_cast<int32_t>(overflow_.size());
    overflow_.insert(overflow_.end(), ids.begin(), ids.end());
  }

 private:
  static constexpr size_t kEntries = 1 << 15;      // 1 MiB: an L2 of today
  static constexpr size_t kMaxOverflow = 1 << 16;  // ids; then the entries that use it start over

  void forget_overflow() {
    for (Entry& entry : entries_) {
      if (entry.count > kInlineIds) entry = {};
    }
    overflow_.clear();
  }

  std::vector<Entry> entries_;
  std::vector<int32_t> overflow_;
};

}  // namespace msltx::text
