// What may stand together in a piece of SentencePiece's kind: letters, or digits and punctuation,
// after one space mark at most.
#pragma once

#include <cstdint>
#include <string_view>

#include "msltx/text/unicode.h"

namespace msltx::text {

inline constexpr char32_t kSpaceMark = 0x2581;  // "▁", a space in the texts of pieces

enum class PieceKind : uint8_t { space, letter, common };

// SentencePiece goes by script; letters of several scripts count as one kind here. Marks, which go
// with letters, are not told from symbols by class_of: beyond ASCII only the blocks of punctuation
// and symbols count as such.
inline PieceKind piece_kind(char32_t code) {
  if (code == kSpaceMark) return PieceKind::space;
  const CharClass kind = class_of(code);
  if (kind == CharClass::letter) return PieceKind::letter;
  if (kind != CharClass::other) return PieceKind::common;
  const bool symbol = code < 0xC0 || (code >= 0x2000 && code < 0x2C00) ||
                      (code >= 0x3000 && code < 0x3040) || (code >= 0xFF00 && code < 0xFF10);
  return symbol ? PieceKind::common : PieceKind::letter;
}

}  // namespace msltx::text
