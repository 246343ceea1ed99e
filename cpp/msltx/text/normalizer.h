// Normalizers of a tokenizer.json: what rewrites text before it is split.
#pragma once

#include <memory>

#include "msltx/text/aligned_text.h"
#include "msltx/text/json_fields.h"

namespace msltx::text {

// Never changes once made; safe for concurrent use.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void normalize(AlignedText& text) const = 0;
};

// From its JSON; null for null. Throws ValueError for a normalizer that is not known, naming it.
std::unique_ptr<const Normalizer> make_normalizer(const Json& json);

// The Precompiled normalizer of SentencePiece, from the bytes of its table.
std::unique_ptr<const Normalizer> make_precompiled(std::string charsmap);

// Every byte as its character of the byte alphabet.
void to_byte_level(AlignedText& text);

std::string from_base64(const std::string& text, const char* key);  // ValueError, naming the key
std::string to_base64(std::string_view bytes);

}  // namespace msltx::text
