// Checksum: 64 bits over the bytes of a file as they are written or read, in pieces of any size.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include "msltx/text/piece_table.h"

namespace msltx::data {

// Words of 8 bytes (little-endian, the last one filled with zeros), each folded in by a product.
class Checksum {
 public:
  void add(std::span<const std::byte> bytes) {
    length_ += bytes.size();
    while (!bytes.empty()) {
      if (waiting_ == 0 && bytes.size() >= sizeof word_) {
        uint64_t word = 0;
        std::memcpy(&word, bytes.data(), sizeof word);
        fold(word);
        bytes = bytes.subspan(sizeof word);
        continue;
      }
      word_ |= static_cast<uint64_t>(bytes.front()) << 8 * waiting_;
      bytes = bytes.subspan(1);
      if (++waiting_ == sizeof word_) {
        fold(word_);
        word_ = 0;
        waiting_ = 0;
      }
    }
  }

  uint64_t value() const {
    Checksum whole = *this;
    if (waiting_ > 0) whole.fold(word_);
    whole.fold(length_);
    return whole.state_;
  }

 private:
  static constexpr uint64_t kMultiplier = 0x9FB21C651E98DF25u;
  static constexpr uint64_t kStep = 0xA0761D6478BD642Fu;

  void fold(uint64_t word) { state_ = text::fold_product(state_ ^ word, kMultiplier) + kStep; }

  uint64_t state_ = kStep;
  uint64_t word_ = 0;    // bytes that wait for the rest of their word
  size_t waiting_ = 0;   // how many
  uint64_t length_ = 0;  // bytes in all
};

}  // namespace msltx::data
