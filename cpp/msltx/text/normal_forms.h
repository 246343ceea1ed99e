// NFC, NFD, NFKC and NFKD of a loaded tokenizer, as the Hugging Face library has them: with Unicode
// 9.0, character by character with their places. Cleaning follows the newest standard instead.
#pragma once

#include <cstdint>

#include "msltx/text/aligned_text.h"

namespace msltx::text {

enum class NormalForm : uint8_t { nfc, nfd, nfkc, nfkd };

void normalize(AlignedText& text, NormalForm form);

}  // namespace msltx::text
