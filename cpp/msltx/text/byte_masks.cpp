// Without vector instructions; byte_masks_simd.cpp stands in for it where Highway is there.
#include "msltx/text/byte_masks.h"

#include "msltx/text/split.h"

namespace msltx::text {

void find_byte_masks(const char* text, size_t blocks, ByteMasks* out) {
  for (size_t k = 0; k < blocks; ++k, text += 64) {
    ByteMasks m{};
    for (int i = 0; i < 64; ++i) {
      const char c = text[i];
      const uint64_t bit = uint64_t{1} << i;
      const int8_t kind = kAsciiClasses.of[static_cast<unsigned char>(c)];
      const auto is = [&](CharClass wanted) {
        return kind == static_cast<int8_t>(wanted) ? bit : 0;
      };
      m.letter |= is(CharClass::letter);
      m.number |= is(CharClass::number);
      m.white |= is(CharClass::space);
      m.space |= c == ' ' ? bit : 0;
      m.newline |= c == '\n' || c == '\r' ? bit : 0;
      m.apostrophe |= c == '\'' ? bit : 0;
      m.control |= (c >= 0 && c < 0x20) || c == 0x7F ? bit : 0;
      m.high |= kind == AsciiClasses::kNotAscii ? bit : 0;
    }
    out[k] = m;
  }
}

}  // namespace msltx::text
