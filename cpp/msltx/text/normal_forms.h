// NFC, NFD, NFKC and NFKD of a loaded tokenizer, as the Hugging Face library has them: with Unicode
// 9.0, character by character with their places. Cleaning follows the newest standard instead.
#pragma once

#include "msltx/text/aligned_text.h"
#include "msltx/text/normal_form.h"

namespace msltx::text {

void normalize(AlignedText& text, NormalForm form);

}  // namespace msltx::text
