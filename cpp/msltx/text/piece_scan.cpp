#include "msltx/text/piece_scan.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <type_traits>

#include "msltx/base/error.h"
#include "msltx/text/word_cut.h"

namespace msltx::text {
namespace {

// What the scan knows of a pattern; cut by `next` where it knows nothing.
template <class Split>
struct Rules {
  static constexpr bool kKnown = false;
};
template <>
struct Rules<Gpt2Split> {
  static constexpr bool kKnown = true;
  static constexpr int kDigits = 0;  // a piece has any number of digits
};
template <>
struct Rules<WordCut> {
  static constexpr bool kKnown = true;
};
template <int kMost, bool kWholeEnd>
struct Rules<WordSplit<kMost, kWholeEnd>> {
  static constexpr bool kKnown = true;
  static constexpr int kDigits = kMost;
  static constexpr bool kWhole = kWholeEnd;
};

void set_bit(uint64_t* words, size_t at) { words[at / 64] |= uint64_t{1} << (at % 64); }
void clear_bit(uint64_t* words, size_t at) { words[at / 64] &= ~(uint64_t{1} << (at % 64)); }

// A mask moved on by one byte: bit i says what was said of byte i - 1. Blocks come in order.
class Shifted {
 public:
  uint64_t operator()(uint64_t mask) {
    const uint64_t moved = mask << 1 | carry_;
    carry_ = mask >> 63;
    return moved;
  }
  uint64_t carry() const { return carry_; }

 private:
  uint64_t carry_ = 0;
};

// The runs of `within` that begin in `from` (each at its run's first bit). Blocks come in order.
class Flood {
 public:
  uint64_t operator()(uint64_t within, uint64_t from) {
    // The addition carries through each such run and leaves its bits 0.
    const uint64_t sum = within + from;
    const uint64_t total = sum + carry_;
    carry_ = (sum < within) | (total < sum);
    return within & ~total;
  }

 private:
  uint64_t carry_ = 0;
};

uint64_t other_of(const ByteMasks& m) { return ~(m.letter | m.number | m.white); }

}  // namespace

// One by one, up to `wanted` bytes and at least one piece.
template <class Split>
void PieceScan::cut_each(const char* p, const char* end, size_t wanted) {
  text_ = p;
  readable_end_ = end;
  count_ = 0;
  const char* q = p;
  do {
    q = Split::next(q, end);
    const auto size = static_cast<size_t>(q - p);
    if (size > std::numeric_limits<uint32_t>::max()) {
      if (count_ > 0) return;
      throw ValueError(concat("a word of the text has ", size, " bytes; at most ",
                              std::numeric_limits<uint32_t>::max(), " are encoded"));
    }
    ends_[count_++] = static_cast<uint32_t>(size);
  } while (q < end && static_cast<size_t>(q - p) < wanted);
}

// Puts characters beyond ASCII into the masks; false: not all can be.
template <class Split>
bool PieceScan::widen_masks(size_t size) {
  const size_t blocks = (size + 63) / 64;
  uint64_t any = 0;
  for (size_t k = 0; k < blocks; ++k) any |= masks_[k].high;
  std::fill_n(continuation_, blocks, 0);
  if (!any) return true;
  for (size_t k = 0; k < blocks; ++k) {
    for (uint64_t left = masks_[k].high & ~continuation_[k]; left;) {
      const size_t at = 64 * k + static_cast<size_t>(std::countr_zero(left));
      if (at >= size) return true;
      const char* q = text_ + at;
      const char32_t c = decode_utf8(q);
      CharClass kind = class_of(c);
      if constexpr (std::is_same_v<Split, WordCut>) {
        // Letters here are the plain ones.
        kind = WordCut::is_plain_letter(c) ? CharClass::letter : CharClass::other;
      } else {
        if (kind == CharClass::space) return false;
        if (kind == CharClass::number && Rules<Split>::kDigits > 0) return false;
      }
      const auto after = static_cast<size_t>(q - text_);
      for (size_t i = at; i < after; ++i) {
        const uint64_t bit = uint64_t{1} << (i % 64);
        if (kind == CharClass::letter) masks_[i / 64].letter |= bit;
        if (kind == CharClass::number) masks_[i / 64].number |= bit;
        if (i > at) continuation_[i / 64] |= bit;
      }
      left = after >= 64 * (k + 1) ? 0 : left & (~uint64_t{0} << (after % 64));
    }
  }
  return true;
}

// Contractions: an apostrophe that begins a piece takes the letters of one with it.
template <class Split>
void PieceScan::apply_contractions(size_t size) {
  const size_t blocks = (size + 63) / 64;
  for (size_t k = 0; k < blocks; ++k) {
    for (uint64_t left = masks_[k].apostrophe & starts_[k]; left; left &= left - 1) {
      const size_t at = 64 * k + static_cast<size_t>(std::countr_zero(left));
      if (at >= size) return;
      const auto length = static_cast<size_t>(Split::contraction(text_ + at, text_ + size));
      if (length == 0) continue;
      clear_bit(starts_, at + 1);
      if (at + length < size) set_bit(starts_, at + length);
    }
  }
}

// A run of one class begins a piece, with the space before it. Of white space the last character
// begins one too, unless the text ends there.
template <>
void PieceScan::find_starts<Gpt2Split>(size_t size, bool /*at_end*/) {
  const size_t blocks = (size + 63) / 64;
  Shifted letter, number, white, other, space;
  for (size_t k = 0; k < blocks; ++k) {
    const ByteMasks& m = masks_[k];
    const uint64_t white_after = m.white >> 1 | masks_[k + 1].white << 63;
    const uint64_t others = other_of(m);
    const uint64_t runs =
        (m.letter & ~letter(m.letter)) | (m.number & ~number(m.number)) | (others & ~other(others));
    starts_[k] = (runs & ~space(m.space)) | (m.white & ~(white(m.white) & white_after));
  }
  apply_contractions<Gpt2Split>(size);
}

// A space alone between two plain characters begins a word.
template <>
void PieceScan::find_starts<WordCut>(size_t size, bool /*at_end*/) {
  const size_t blocks = (size + 63) / 64;
  const auto plain_of = [](const ByteMasks& m) {
    return m.letter | ~(m.space | m.control | m.high);
  };
  Shifted plain;
  for (size_t k = 0; k < blocks; ++k) {
    const uint64_t mine = plain_of(masks_[k]);
    const uint64_t after = mine >> 1 | plain_of(masks_[k + 1]) << 63;
    starts_[k] = masks_[k].space & plain(mine) & after;
  }
}

template <class Split>
void PieceScan::find_starts(size_t size, bool at_end) {
  const size_t blocks = (size + 63) / 64;
  Shifted letter, number, number2, number3, white, other, space, newline, first, free_white;
  Flood after_other;
  bool long_numbers = false;
  for (size_t k = 0; k < blocks; ++k) {
    const ByteMasks& m = masks_[k];
    const uint64_t others = other_of(m);
    const uint64_t other_before = other(others), space_before = space(m.space);
    const uint64_t newline_before = newline(m.newline), white_before = white(m.white);
    const uint64_t white_after = m.white >> 1 | masks_[k + 1].white << 63;

    // Neither letter, number nor white space: a run begins a piece, with the space before it.
    const uint64_t other_starts = others & ~other_before & ~space_before;
    // Its first character, all bytes of it; where no more follow, a word takes it.
    uint64_t alone = other_starts;
    const uint64_t carried = first.carry();
    for (int i = 0; i < 3; ++i) alone |= (alone << 1 | carried) & continuation_[k];
    // A word takes what stands before it: such a character, or white space but a newline.
    const uint64_t taken = first(alone) | (white_before & ~newline_before);
    const uint64_t words = m.letter & ~letter(m.letter) & ~taken;

    const uint64_t number_before = number(m.number);
    uint64_t numbers = m.number & ~number_before;
    if constexpr (Rules<Split>::kDigits == 1) {
      numbers = m.number;
    } else {
      const uint64_t before2 = number2(number_before);
      long_numbers |= (m.number & number_before & before2 & number3(before2)) != 0;
    }

    // Newlines after a run of others are its; what is left of white space begins a piece, and so
    // does its last character where that is no newline and something follows.
    const uint64_t free = m.white & ~after_other(m.newline, m.newline & other_before);
    const uint64_t free_before = free_white(free);
    const uint64_t spaces = (free & ~free_before) | (free & ~m.newline & ~white_after);
    starts_[k] = words | numbers | other_starts | spaces;
    after_newline_[k] = free & free_before & ~m.newline & newline_before;
  }
  end_newlines<Split>(blocks, at_end);
  if (long_numbers) cut_numbers<Split>(blocks);
  apply_contractions<Split>(size);
}

// \s*[\r\n]+ ends after the last newline of white space.
template <class Split>
void PieceScan::end_newlines(size_t blocks, bool at_end) {
  for (size_t k = 0; k < blocks; ++k) {
    for (uint64_t left = after_newline_[k]; left; left &= left - 1) {
      const size_t at = 64 * k + static_cast<size_t>(std::countr_zero(left));
      const size_t end = run_end(at, blocks, &ByteMasks::white);
      const bool last = !any_newline(at, end);
      const bool kept = Rules<Split>::kWhole && at_end && end >= 64 * blocks;
      if (last && !kept) set_bit(starts_, at);
    }
  }
}

// Numbers in pieces of kDigits from the first digit on.
template <class Split>
void PieceScan::cut_numbers(size_t blocks) {
  Shifted number;
  for (size_t k = 0; k < blocks; ++k) {
    for (uint64_t left = masks_[k].number & ~number(masks_[k].number); left; left &= left - 1) {
      size_t at = 64 * k + static_cast<size_t>(std::countr_zero(left));
      const size_t end = run_end(at, blocks, &ByteMasks::number);
      for (at += Rules<Split>::kDigits; at < end; at += Rules<Split>::kDigits) set_bit(starts_, at);
    }
  }
}

// The end of the run of this kind that `at` is in.
size_t PieceScan::run_end(size_t at, size_t blocks, uint64_t ByteMasks::*kind) const {
  uint64_t outside = ~(masks_[at / 64].*kind) & ~uint64_t{0} << (at % 64);
  for (size_t k = at / 64;; outside = ~(masks_[k].*kind)) {
    if (outside) return 64 * k + static_cast<size_t>(std::countr_zero(outside));
    if (++k == blocks) return 64 * blocks;
  }
}

bool PieceScan::any_newline(size_t begin, size_t end) const {
  for (size_t k = begin / 64; 64 * k < end; ++k) {
    uint64_t found = masks_[k].newline;
    if (k == begin / 64) found &= ~uint64_t{0} << (begin % 64);
    if (end < 64 * (k + 1)) found &= ~(~uint64_t{0} << (end % 64));
    if (found) return true;
  }
  return false;
}

// From starts to ends. Those are left out that what follows the window could change: behind white
// space that may go on, and where a contraction may begin.
void PieceScan::collect(size_t size, bool at_end) {
  constexpr size_t kContraction = 4;
  size_t sure = size;  // starts below are known
  if (!at_end) {
    size_t k = (size - 1) / 64;
    uint64_t solid = ~masks_[k].white & (~uint64_t{0} >> (63 - (size - 1) % 64));
    while (solid == 0 && k > 0) solid = ~masks_[--k].white;
    const size_t white = solid ? 64 * k + static_cast<size_t>(std::bit_width(solid)) : 0;
    sure = std::min(white + 1, size - kContraction);
  }
  starts_[0] &= ~uint64_t{1};
  count_ = 0;
  for (size_t k = 0; 64 * k < sure; ++k) {
    uint64_t left = starts_[k];
    if (sure < 64 * (k + 1)) left &= ~(~uint64_t{0} << (sure % 64));
    for (; left; left &= left - 1) {
      ends_[count_++] =
          static_cast<uint32_t>(64 * k) + static_cast<uint32_t>(std::countr_zero(left));
    }
  }
  if (at_end) ends_[count_++] = static_cast<uint32_t>(size);
}

template <class Split>
void PieceScan::cut(const char* p, const char* end) {
  const auto left = static_cast<size_t>(end - p);
  if constexpr (!Rules<Split>::kKnown) {
    cut_each<Split>(p, end, std::min(left, kWindow / 2));
  } else {
    const bool at_end = left <= kWindow;
    size_t size = std::min(left, kWindow);
    text_ = p;
    readable_end_ = end;
    if (left < kWindow) {
      std::memcpy(copy_, p, left);
      std::memset(copy_ + left, ' ', 64);
      text_ = copy_;
      readable_end_ = copy_ + left + 16;
    }
    if (!at_end) {
      while ((static_cast<unsigned char>(p[size]) & 0xC0) == 0x80) --size;  // whole characters
    }
    const size_t blocks = (size + 63) / 64;
    find_byte_masks(text_, blocks, masks_);
    masks_[blocks] = {.white = ~uint64_t{0}, .space = ~uint64_t{0}};
    if (!widen_masks<Split>(size)) return cut_each<Split>(p, end, size);
    find_starts<Split>(size, at_end);
    collect(size, at_end);
    if (count_ == 0) cut_each<Split>(p, end, 1);
  }
}

template void PieceScan::cut<Gpt2Split>(const char*, const char*);
template void PieceScan::cut<Llama3Split>(const char*, const char*);
template void PieceScan::cut<Cl100kSplit>(const char*, const char*);
template void PieceScan::cut<Qwen2Split>(const char*, const char*);
template void PieceScan::cut<O200kSplit>(const char*, const char*);
template void PieceScan::cut<WordCut>(const char*, const char*);

}  // namespace msltx::text
