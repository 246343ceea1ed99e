// Whether a tokenizer's pipeline gives a word the same tokens wherever it stands in a text. Then
// text can be cut before words, shared out to workers, and words that were met before looked up.
//
// No normalization form, class or table of a tokenizer.json reaches over the places where WordCut
// cuts; components that might are not ruled in.
#pragma once

#include "msltx/text/json_fields.h"
#include "msltx/text/model.h"

namespace msltx::text {

struct WordRules {
  bool hold = false;
  Json inner_normalizer;  // of words but a text's first
};

// Of the components as a tokenizer.json has them.
WordRules find_word_rules(const Json& normalizer, const Json& pre_tokenizer, const Model& model);

// True when the model merges words as if each stood alone, U+2581 standing for the space before:
// BPE without a token that reaches over the beginning of a word.
bool merges_within_words(const Model& model);

}  // namespace msltx::text
