// Pre-tokenizers of a tokenizer.json: what cuts normalized text into the pieces that a model sees.
#pragma once

#include <memory>
#include <vector>

#include "msltx/text/aligned_text.h"
#include "msltx/text/json_fields.h"

namespace msltx::text {

// A part of a text on its way to the model: text still to be tokenized, or an added token.
struct Piece {
  AlignedText text;
  int32_t token = -1;  // else the id of an added token
};

// Never changes once made; safe for concurrent use.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Cuts every piece that is no token. Empty pieces may be left.
  virtual void split(std::vector<Piece>& pieces) const = 0;
};

// From its JSON; null for null. Throws ValueError for a pre-tokenizer that is not known, naming it.
std::unique_ptr<const PreTokenizer> make_pre_tokenizer(const Json& json);

// What Metaspace puts before text.
enum class PrependScheme : uint8_t { always, first, never };

// The fields of Metaspace, as a pre-tokenizer and as a decoder, old forms of the file included.
struct MetaspaceFields {
  explicit MetaspaceFields(const Json& json);
  char32_t replacement;
  PrependScheme scheme;
  bool split;
};

}  // namespace msltx::text
