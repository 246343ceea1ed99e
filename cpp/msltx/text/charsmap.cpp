#include "msltx/text/charsmap.h"

#include <algorithm>
#include <cstring>

#include "msltx/text/utf8.h"

namespace msltx::text {
namespace {

bool has_leaf(uint32_t unit) { return unit >> 8 & 1; }
uint32_t value_of(uint32_t unit) { return unit & 0x7FFFFFFFu; }
uint32_t label_of(uint32_t unit) { return unit & 0x800000FFu; }
uint32_t offset_of(uint32_t unit) { return unit >> 10 << ((unit & 1u << 9) >> 6); }

}  // namespace

Charsmap::Charsmap(std::string bytes) : bytes_(std::move(bytes)) {
  uint32_t size = 0;
  if (bytes_.size() < sizeof size) throw ValueError("has a charsmap that is cut off");
  std::memcpy(&size, bytes_.data(), sizeof size);
  if (size % 4 != 0 || size == 0 || size > bytes_.size() - sizeof size) {
    throw ValueError(concat("has a charsmap of ", bytes_.size(), " bytes whose table has ", size));
  }
  units_.resize(size / 4);
  std::memcpy(units_.data(), bytes_.data() + sizeof size, size);
  texts_ = std::string_view(bytes_).substr(sizeof size + size);
  if (find_invalid_utf8(texts_) != kValid) throw ValueError("has a charsmap that is not UTF-8");
}

// Every inner node has a block of its own for its children, which wastes room and needs no search.
std::string Charsmap::build(std::vector<std::pair<std::string, std::string>> entries) {
  constexpr uint32_t kBlock = 256, kLeafBit = 1u << 8, kValueBit = 1u << 31;
  constexpr uint32_t kMaxOffset = 1u << 21;
  // Where a block has no leaf: another label than its place's, or a zero byte would lead there.
  constexpr uint32_t kNoLeaf = 1;
  std::sort(entries.begin(), entries.end());
  std::vector<uint32_t> units(2 * kBlock);
  std::vector<uint32_t> blocks(2 * kBlock);  // by unit: where its children are, 0 for none
  std::string texts;
  const auto children_of = [&](uint32_t place) {
    if (blocks[place] == 0) {
      blocks[place] = static_cast<uint32_t>(units.size());
      units.resize(units.size() + kBlock);
      blocks.resize(units.size());
      units[blocks[place]] = kNoLeaf;
      const uint32_t offset = place ^ blocks[place];
      if (offset >= kMaxOffset) throw ValueError("a charsmap of this size cannot be written");
      units[place] |= offset << 10;
    }
    return blocks[place];
  };
  blocks[0] = kBlock;
  units[0] = kBlock << 10;
  units[kBlock] = kNoLeaf;
  for (const auto& [from, to] : entries) {
    uint32_t place = 0;
    for (const char c : from) {
      const auto byte = static_cast<unsigned char>(c);
      place = children_of(place) + byte;
      units[place] |= byte;
    }
    const uint32_t leaf = children_of(place);
    units[place] |= kLeafBit;
    units[leaf] = kValueBit | static_cast<uint32_t>(texts.size());
    texts.append(to).push_back('\0');
  }
  const auto size = static_cast<uint32_t>(units.size() * sizeof(uint32_t));
  std::string out(sizeof size + size, '\0');
  std::memcpy(out.data(), &size, sizeof size);
  std::memcpy(out.data() + sizeof size, units.data(), size);
  return out + texts;
}

std::optional<Charsmap::Match> Charsmap::find(std::string_view text, bool longest) const {
  std::optional<Match> match;
  if (units_.empty()) return match;
  uint32_t place = offset_of(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte == 0) break;
    place ^= byte;
    if (place >= units_.size() || label_of(units_[place]) != byte) break;
    const uint32_t unit = units_[place];
    place ^= offset_of(unit);
    if (place >= units_.size()) break;
    if (!has_leaf(unit)) continue;
    const uint32_t begin = value_of(units_[place]);
    if (begin > texts_.size()) break;
    const std::string_view rest = texts_.substr(begin);
    match = Match{i + 1, rest.substr(0, rest.find('\0'))};
    // A damaged table may point into the middle of a character.
    if (!match->replacement.empty() &&
        (static_cast<unsigned char>(match->replacement[0]) & 0xC0) == 0x80) {
      match->replacement = {};
    }
    if (!longest) break;
  }
  return match;
}

}  // namespace msltx::text
