// Byte tokens: what models with byte fallback write unknown characters in, "<0x00>" to "<0xFF>".
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "msltx/text/vocabulary.h"

namespace msltx::text {

inline constexpr int32_t kNoByteToken = -1;

// The token of a byte.
inline std::string byte_token(int byte) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string token = "<0x00>";
  token[3] = kDigits[byte / 16];
  token[4] = kDigits[byte % 16];
  return token;
}

// The byte that a token is, -1 for another token.
inline int byte_of_token(std::string_view token) {
  for (int byte = 0; byte < 256 && token.size() == 6; ++byte) {
    if (token == byte_token(byte)) return byte;
  }
  return -1;
}

// The id of each byte's token, kNoByteToken where the vocabulary has none.
inline std::array<int32_t, 256> byte_token_ids(const Vocabulary& vocabulary) {
  std::array<int32_t, 256> ids{};
  for (size_t byte = 0; byte < ids.size(); ++byte) {
    ids[byte] = vocabulary.find(byte_token(static_cast<int>(byte))).value_or(kNoByteToken);
  }
  return ids;
}

}  // namespace msltx::text
