// Decoders of a tokenizer.json: from tokens to text. Tokens are strings as the file writes them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "msltx/text/json_fields.h"

namespace msltx::text {

// Never changes once made; safe for concurrent use. Named for the part of a file that it is; the
// decoder of a model's layers is elsewhere.
class TokenDecoder {
 public:
  virtual ~TokenDecoder() = default;
  // Rewrites the list of tokens; joined, they are the text.
  virtual void decode(std::vector<std::string>& tokens) const = 0;
};

// From its JSON; null for null. Throws ValueError for a decoder that is not known, naming it.
std::unique_ptr<const TokenDecoder> make_decoder(const Json& json);

}  // namespace msltx::text
