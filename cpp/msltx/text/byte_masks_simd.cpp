// With vector instructions of the machine it runs on.
#include "msltx/text/byte_masks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "msltx/text/byte_masks_simd.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace msltx::text::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<uint8_t, 64>;
using V = hn::Vec<D>;
using M = hn::Mask<D>;

// A mask of each kind for one vector; a vector has at most 64 bytes.
HWY_INLINE uint64_t bits_of(M mask) {
  uint8_t bytes[8] = {};
  hn::StoreMaskBits(D(), mask, bytes);
  uint64_t bits = 0;
  for (size_t i = 0; i < 8; ++i) bits |= uint64_t{bytes[i]} << 8 * i;
  return bits;
}

// first <= v <= last, with wrapping subtraction.
HWY_INLINE M in_range(V v, uint8_t first, uint8_t last) {
  return hn::Lt(hn::Sub(v, hn::Set(D(), first)),
                hn::Set(D(), static_cast<uint8_t>(last - first + 1)));
}

void find_byte_masks(const char* text, size_t blocks, ByteMasks* out) {
  const D d;
  const size_t lanes = hn::Lanes(d);
  for (size_t k = 0; k < blocks; ++k, text += 64) {
    ByteMasks m{};
    for (size_t i = 0; i < 64; i += lanes) {
      const V v = hn::LoadU(d, reinterpret_cast<const uint8_t*>(text) + i);
      const auto is = [&](char c)
                          HWY_ATTR { return hn::Eq(v, hn::Set(d, static_cast<uint8_t>(c))); };
      const M space = is(' ');
      m.letter |= bits_of(in_range(hn::Or(v, hn::Set(d, 0x20)), 'a', 'z')) << i;
      m.number |= bits_of(in_range(v, '0', '9')) << i;
      m.white |= bits_of(hn::Or(space, in_range(v, 9, 13))) << i;
      m.space |= bits_of(space) << i;
      m.newline |= bits_of(hn::Or(is('\n'), is('\r'))) << i;
      m.apostrophe |= bits_of(is('\'')) << i;
      m.control |= bits_of(hn::Or(hn::Lt(v, hn::Set(d, 0x20)), is(0x7F))) << i;
      m.high |= bits_of(hn::Gt(v, hn::Set(d, 0x7F))) << i;
    }
    out[k] = m;
  }
}

}  // namespace msltx::text::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msltx::text {
namespace {
HWY_EXPORT(find_byte_masks);
}  // namespace

void find_byte_masks(const char* text, size_t blocks, ByteMasks* out) {
  HWY_DYNAMIC_DISPATCH(find_byte_masks)(text, blocks, out);
}

}  // namespace msltx::text
#endif
