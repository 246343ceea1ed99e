#include "msltx/text/byte_alphabet.h"

#include "msltx/text/utf8.h"

namespace msltx::text {
namespace {

constexpr char32_t kOthersFrom = 0x100;  // where the bytes without a printable character begin
constexpr char32_t kAlphabetEnd = 0x144;

constexpr bool stands_for_itself(char32_t c) {
  return (c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF);
}

struct Alphabet {
  std::array<char32_t, 256> character{};
  std::array<int16_t, kAlphabetEnd> byte{};  // -1: not in the alphabet
  constexpr Alphabet() {
    for (auto& b : byte) b = -1;
    char32_t next = kOthersFrom;
    for (char32_t c = 0; c < 256; ++c) {
      character[c] = stands_for_itself(c) ? c : next++;
      byte[character[c]] = static_cast<int16_t>(c);
    }
  }
};
constexpr Alphabet kAlphabet;

}  // namespace

const std::array<char32_t, 256>& byte_alphabet() { return kAlphabet.character; }

std::string to_byte_alphabet(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) append_utf8(out, kAlphabet.character[static_cast<unsigned char>(c)]);
  return out;
}

std::optional<std::string> from_byte_alphabet(std::string_view written) {
  std::string out;
  const char* p = written.data();
  const char* const end = p + written.size();
  while (p < end) {
    const char32_t c = decode_utf8(p);
    if (c >= kAlphabetEnd || kAlphabet.byte[c] < 0) return std::nullopt;
    out.push_back(static_cast<char>(kAlphabet.byte[c]));
  }
  return out;
}

}  // namespace msltx::text
