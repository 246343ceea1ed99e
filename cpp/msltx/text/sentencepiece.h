// Tokenizers of SentencePiece, with the ids, surfaces and decoded text of its own library: they
// know no pre-tokenizer and no added tokens, their normalizer takes the longest match of its table,
// and control tokens are never found in text.
#pragma once

#include <memory>
#include <string>

#include "msltx/text/decoder.h"
#include "msltx/text/model.h"
#include "msltx/text/normalizer.h"
#include "msltx/text/sentencepiece_file.h"

namespace msltx::text {

// Throws ValueError for what is not read: models of words and of characters, spaces at the ends of
// words, unused pieces in BPE.
std::shared_ptr<const Model> make_model(const SentencePieceFile& file);

std::unique_ptr<const Normalizer> make_normalizer(const SentencePieceFile& file);
std::unique_ptr<const TokenDecoder> make_decoder(const SentencePieceFile& file);

}  // namespace msltx::text
