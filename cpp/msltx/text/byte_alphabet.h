// The byte-level alphabet of GPT-2: every byte as one printable character, so that tokens can be
// written as text. Printable Latin-1 bytes stand for themselves; the others are U+0100 and on, in
// order ("Ġ" is the space, "Ċ" the line feed).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace msltx::text {

// The character of each byte.
const std::array<char32_t, 256>& byte_alphabet();

// The bytes written in the alphabet.
std::string to_byte_alphabet(std::string_view bytes);

// The bytes that `written` stands for; none when it holds a character outside the alphabet.
std::optional<std::string> from_byte_alphabet(std::string_view written);

}  // namespace msltx::text
