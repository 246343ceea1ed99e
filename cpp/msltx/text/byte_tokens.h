// Byte tokens: what models with byte fallback write unknown characters in, "<0x00>" to "<0xFF>".
#pragma once

#include <array>
#include <cstdint>

#include "msltx/text/vocabulary.h"

namespace msltx::text {

inline constexpr int32_t kNoByteToken = -1;

// The id of each byte's token, kNoByteToken where the vocabulary has none.
inline std::array<int32_t, 256> byte_token_ids(const Vocabulary& vocabulary) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::array<int32_t, 256> ids{};
  std::string token = "<0x00>";
  for (size_t byte = 0; byte < ids.size(); ++byte) {
    token[3] = kDigits[byte / 16];
    token[4] = kDigits[byte % 16];
    ids[byte] = vocabulary.find(token).value_or(kNoByteToken);
  }
  return ids;
}

}  // namespace msltx::text
