// Hash tables keyed by pre-tokens. A key is two words: pieces of up to 15 bytes are held inline
// with their length; longer ones as a hash and a place in a byte arena.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace msltx::text {

// A 64-bit hash of any bytes that is the same on every machine and in every version: datasets are
// split by it. Words of 8 bytes, each folded in by a 64 x 64 -> 128 bit product.
uint64_t hash_bytes(std::string_view bytes);

// The two halves of a 64 x 64 -> 128 bit product, folded together.
inline uint64_t fold_product(uint64_t a, uint64_t b) {
  __extension__ using uint128 = unsigned __int128;
  const uint128 product = static_cast<uint128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

struct PieceKey {
  static constexpr size_t kInlineBytes = 15;
  uint64_t low = 0, high = 0;  // the top byte of `high` is the length, or kLong

  static bool fits(std::string_view piece) { return piece.size() <= kInlineBytes; }

  // The key of a piece of 1 byte or more from whose beginning 16 bytes may be read. One that does
  // not fit gives a key that no piece has.
  static PieceKey at(const char* piece, size_t size) {
    struct Mask {
      uint64_t low, high, length;
    };
    static_assert(std::endian::native == std::endian::little,
                  "keys are cut from little-endian words");
    static constexpr auto kMasks = [] {
      std::array<Mask, kInlineBytes + 2> masks{};
      for (size_t n = 1; n <= kInlineBytes; ++n) {
        masks[n].low = n >= 8 ? ~uint64_t{0} : (uint64_t{1} << 8 * n) - 1;
        masks[n].high = n <= 8 ? 0 : (uint64_t{1} << 8 * (n - 8)) - 1;
        masks[n].length = static_cast<uint64_t>(n) << 56;
      }
      masks[kInlineBytes + 1].length = ~uint64_t{0};
      return masks;
    }();
    const Mask& mask = kMasks[std::min(size, kInlineBytes + 1)];
    PieceKey key;
    std::memcpy(&key.low, piece, 8);
    std::memcpy(&key.high, piece + 8, 8);
    key.low &= mask.low;
    key.high = (key.high & mask.high) | mask.length;
    return key;
  }
  // The same where `readable` bytes may be read, the piece's own at least.
  static PieceKey of(std::string_view piece, size_t readable) {
    if (readable >= 16) return at(piece.data(), piece.size());
    char bytes[16] = {};
    std::memcpy(bytes, piece.data(), std::min(piece.size(), sizeof bytes));
    return at(bytes, piece.size());
  }
  uint64_t hash() const {
    return fold_product(low ^ 0x9E3779B97F4A7C15u, high ^ 0xD6E8FEB86659FD93u);
  }
  // Without a branch between the halves.
  bool operator==(const PieceKey& other) const {
    return ((low ^ other.low) | (high ^ other.high)) == 0;
  }
};

// Distinct pieces and how often each was seen. Grows with the number of distinct pieces only.
class PieceCounts {
 public:
  PieceCounts() : slots_(kFirstSlots) {}

  void add(std::string_view piece, size_t readable, int64_t count = 1) {
    if (PieceKey::fits(piece)) {
      const PieceKey key = PieceKey::of(piece, readable);
      uint64_t at = key.hash() & (slots_.size() - 1);
      for (;; at = (at + 1) & (slots_.size() - 1)) {
        Slot& slot = slots_[at];
        if (slot.key == key) {
          slot.count += count;
          return;
        }
        if (slot.count == 0) break;
      }
      insert(at, key, count);
    } else {
      add_long(piece, count);
    }
  }

  size_t size() const { return used_; }

  // fn(piece, count) for every distinct piece, in no particular order. The view ends with the call.
  template <class Fn>
  void for_each(Fn&& fn) const {
    for (const Slot& slot : slots_) {
      if (slot.count == 0) continue;
      if (slot.key.high >> 56 == kLong) {
        fn(long_piece(slot.key), slot.count);
        continue;
      }
      char bytes[16];
      std::memcpy(bytes, &slot.key.low, 8);
      std::memcpy(bytes + 8, &slot.key.high, 8);
      fn(std::string_view(bytes, static_cast<size_t>(slot.key.high >> 56)), slot.count);
    }
  }

  // Adds what `other` holds and leaves it empty.
  void absorb(PieceCounts& other);

 private:
  static constexpr size_t kFirstSlots = 1 << 12;
  static constexpr uint64_t kLong = 0xFF;  // then: low is the hash, high the place in long_
  struct Slot {
    PieceKey key;
    int64_t count = 0;  // 0: the slot is free
  };

  std::string_view long_piece(const PieceKey& key) const {
    const char* p = long_.data() + (key.high & ((uint64_t{1} << 56) - 1));
    uint64_t length = 0;
    std::memcpy(&length, p, sizeof length);
    return {p + sizeof length, static_cast<size_t>(length)};
  }
  void insert(uint64_t at, const PieceKey& key, int64_t count) {
    slots_[at] = {key, count};
    if (++used_ * 3 > slots_.size() * 2) grow();
  }
  static uint64_t home(const PieceKey& key) {
    return key.high >> 56 == kLong ? key.low : key.hash();
  }
  void add_long(std::string_view piece, int64_t count);
  void grow();

  std::vector<Slot> slots_;
  std::string long_;  // length (8 bytes) and bytes of each long piece
  size_t used_ = 0;
};

}  // namespace msltx::text
