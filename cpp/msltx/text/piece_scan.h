// PieceScan: cuts text into pre-tokens like a split pattern's `next`, some thousands of bytes at a
// time and without a branch for each character. A window of text becomes masks with a bit for each
// byte (byte_masks.h); where pre-tokens begin follows from a few logical operations on them.
//
// Each window begins where a pre-token begins and is cut on its own: what its end may still change
// is left to the next one. Windows with anything rare (white space beyond ASCII, and for patterns
// that count digits such digits) are cut by `next`, and so are pre-tokens longer than a window.
// On one Zen 4 core GPT-2's pattern takes 0.43 ns a byte of English, one by one 2.4.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "msltx/text/byte_masks.h"
#include "msltx/text/split_words.h"

namespace msltx::text {

class PieceScan {
 public:
  static constexpr size_t kWindow = 2048;

  PieceScan() = default;
  PieceScan(const PieceScan&) = delete;  // text() may be within it
  PieceScan& operator=(const PieceScan&) = delete;

  // Cuts the first pieces of [p, end), p < end, the beginning of a pre-token, of valid UTF-8: at
  // least one.
  template <class Split>
  void cut(const char* p, const char* end);

  // Where the pieces are: text(), up to ends()[0], from there up to ends()[1] ... It is the text
  // itself or a copy of its end; up to readable_end() may be read.
  const char* text() const { return text_; }
  const char* readable_end() const { return readable_end_; }
  std::span<const uint32_t> ends() const { return {ends_, count_}; }

 private:
  static constexpr size_t kBlocks = kWindow / 64;

  template <class Split>
  void cut_each(const char* p, const char* end, size_t wanted);
  template <class Split>
  bool widen_masks(size_t size);
  template <class Split>
  void find_starts(size_t size, bool at_end);
  template <class Split>
  void apply_contractions(size_t size);
  template <class Split>
  void end_newlines(size_t blocks, bool at_end);
  template <class Split>
  void cut_numbers(size_t blocks);
  size_t run_end(size_t at, size_t blocks, uint64_t ByteMasks::*kind) const;
  bool any_newline(size_t begin, size_t end) const;
  void collect(size_t size, bool at_end);

  const char* text_ = nullptr;
  const char* readable_end_ = nullptr;
  size_t count_ = 0;
  uint32_t ends_[kWindow + 1];
  ByteMasks masks_[kBlocks + 1];     // one more: white space after the end
  uint64_t continuation_[kBlocks];   // bytes of a character beyond ASCII after its first
  uint64_t starts_[kBlocks];         // of pre-tokens
  uint64_t after_newline_[kBlocks];  // white space right after a newline
  char copy_[kWindow + 64];          // of the end of a text
};

}  // namespace msltx::text
