// From a tokenizer that was trained here to a SentencePiece file with the same ids: Unigram, and
// BPE over characters, split before every space.
#pragma once

#include "msltx/text/sentencepiece_file.h"
#include "msltx/text/tokenizer.h"

namespace msltx::text {

// Throws ValueError for a tokenizer that no such file can describe, saying why.
SentencePieceFile to_sentencepiece(const TokenizerSpec& spec, const TokenRoles& roles);

}  // namespace msltx::text
