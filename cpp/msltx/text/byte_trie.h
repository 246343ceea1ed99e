// ByteTrie: which of a set of strings does a text begin with? A double array (Aoe 1989): a step
// over one byte is one read. Built once, never changed.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace msltx::text {

class ByteTrie {
 public:
  ByteTrie() : units_(257) {}
  // Strings and their values (0 or more); of equal strings the last value counts. Empty strings are
  // never found.
  explicit ByteTrie(std::vector<std::pair<std::string_view, int32_t>> entries);

  // fn(value, length) for every entry that `text` begins with, shortest first.
  template <class Fn>
  void for_each_prefix(std::string_view text, Fn&& fn) const {
    uint32_t node = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      const auto byte = static_cast<unsigned char>(text[i]);
      const uint32_t next = units_[node].base + byte + 1;
      if (units_[next].parent != node) return;
      node = next;
      if (units_[node].value >= 0) fn(units_[node].value, i + 1);
    }
  }

 private:
  static constexpr uint32_t kFree = 0xffffffffu;
  struct Unit {
    uint32_t base = 0;  // children are at base + byte + 1
    uint32_t parent = kFree;
    int32_t value = -1;
  };

  std::vector<Unit> units_;
};

}  // namespace msltx::text
