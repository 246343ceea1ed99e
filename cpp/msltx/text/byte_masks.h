// Which bytes of a text are of which kind, a bit for each: what piece_scan.cpp computes pre-tokens
// from, 64 bytes at a time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace msltx::text {

struct ByteMasks {      // of 64 bytes; bit i is byte i
  uint64_t letter;      // ASCII letters
  uint64_t number;      // ASCII digits
  uint64_t white;       // ASCII white space as \s has it: the space and 9 to 13
  uint64_t space;       // ' '
  uint64_t newline;     // \r and \n
  uint64_t apostrophe;  // '
  uint64_t control;     // below 0x20 and 0x7F
  uint64_t high;        // bytes of characters beyond ASCII
};

// Of 64 * `blocks` bytes from `text` on.
void find_byte_masks(const char* text, size_t blocks, ByteMasks* out);

}  // namespace msltx::text
