#include "msltx/text/charsmap.h"

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
