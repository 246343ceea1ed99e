// From the pieces of a scan to their ids, through a cache.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "msltx/text/piece_cache.h"
#include "msltx/text/piece_scan.h"

namespace msltx::text {

// Appends the ids of all pieces; encode(piece) appends those of one that the cache has not.
template <class Encode>
void look_up_pieces(const PieceScan& scan, PieceCache& cache, std::vector<int32_t>& out,
                    Encode&& encode) {
  // A few at a time: first the keys, so that the cache's memory is on its way meanwhile.
  constexpr size_t kPieces = 64;
  PieceKey keys[kPieces];
  uint32_t places[kPieces];
  // Ids gather here first: three are written whatever the count, which needs no branch.
  int32_t buffer[(kPieces + 1) * PieceCache::kInlineIds];
  const char* const text = scan.text();
  const std::span<const uint32_t> ends = scan.ends();
  uint32_t key_begin = 0, begin = 0;
  for (size_t first = 0; first < ends.size(); first += kPieces) {
    const size_t count = std::min(kPieces, ends.size() - first);
    for (size_t i = 0; i < count; ++i) {
      const char* const piece = text + key_begin;
      keys[i] = PieceKey::of({piece, ends[first + i] - key_begin},
                             static_cast<size_t>(scan.readable_end() - piece));
      places[i] = cache.prefetch(keys[i]);
      key_begin = ends[first + i];
    }
    size_t n = 0;
    for (size_t i = 0; i < count; ++i) {
      const PieceCache::Entry* const entry = cache.find(keys[i], places[i]);
      if (entry && entry->count <= PieceCache::kInlineIds) [[likely]] {
        std::memcpy(buffer + n, entry->ids, sizeof entry->ids);
        n += entry->count;
      } else {
        out.insert(out.end(), buffer, buffer + n);
        n = 0;
        const std::string_view piece(text + begin, ends[first + i] - begin);
        if (entry) {
          const auto ids = cache.ids(*entry);
          out.insert(out.end(), ids.begin(), ids.end());
        } else {
          const size_t before = out.size();
          encode(piece);
          if (PieceKey::fits(piece)) cache.put(keys[i], std::span(out).subspan(before));
        }
      }
      begin = ends[first + i];
    }
    out.insert(out.end(), buffer, buffer + n);
  }
}

}  // namespace msltx::text
