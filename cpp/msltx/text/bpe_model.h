// A byte-level BPE model: from the bytes of one pre-token to token ids. Merges are applied lowest
// rank first, leftmost first among equals.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "msltx/base/arena.h"

namespace msltx::text {

// The merges by pair, in one table with open addressing.
class MergeTable {
 public:
  static constexpr uint32_t kNone = 0xffffffffu;
  struct Result {
    uint32_t rank = kNone;  // kNone: the pair is not merged
    int32_t made = 0;       // the id of the merged token
  };

  MergeTable() : MergeTable(0) {}
  explicit MergeTable(size_t merges);
  // A pair that is there already takes the new rank.
  void set(int32_t left, int32_t right, Result result);

  Result find(int32_t left, int32_t right) const {
    const uint64_t key = key_of(left, right);
    for (uint64_t at = home(key);; at = (at + 1) & mask_) {
      const Slot& slot = slots_[at];
      if (slot.key == key) return slot.result;
      if (slot.key == kFree) return {};
    }
  }

 private:
  static constexpr uint64_t kFree = ~uint64_t{0};  // no pair: ids are not negative
  struct Slot {
    uint64_t key = kFree;
    Result result;
  };
  static uint64_t key_of(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  uint64_t home(uint64_t key) const { return (key * 0x9E3779B97F4A7C15u >> 32) & mask_; }
  Arena memory_;  // huge pages: of a large table every look-up is in another one
  Slot* slots_;
  uint64_t mask_;  // slots - 1
};

class BpeModel {
 public:
  // What one caller of encode_piece needs to work in; grows to the longest piece.
  struct Scratch {
    struct Symbol {
      int32_t id;
      uint32_t previous, next;  // places; `next` of the last is the number of symbols
    };
    std::vector<Symbol> symbols;
    std::vector<uint64_t> heap;
  };

  BpeModel() = default;
  // tokens: by id, written in byte_alphabet; merges: pairs of ids by rank. Throws ValueError when a
  // byte has no token, a merge names an id outside the vocabulary, or its product is not a token.
  // `ranks`, where there are any, give each merge its rank: of pairs of one rank the leftmost is
  // merged first.
  BpeModel(std::span<const std::string> tokens, std::span<const std::pair<int32_t, int32_t>> merges,
           std::span<const uint32_t> ranks = {});

  // Appends the ids of one pre-token, at most 2^32 - 1 bytes. Time n log n for any bytes.
  void encode_piece(std::string_view piece, Scratch& scratch, std::vector<int32_t>& out) const;

 private:
  void encode_short(std::string_view piece, std::vector<int32_t>& out) const;
  void encode_long(std::string_view piece, Scratch& scratch, std::vector<int32_t>& out) const;

  std::array<int32_t, 256> byte_ids_{};
  MergeTable merges_;
};

}  // namespace msltx::text
