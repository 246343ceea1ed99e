// The member "model" of a tokenizer.json: WordPiece, Unigram, WordLevel and BPE over characters,
// read and written. Byte-level BPE is tokenizer_json.cpp's own.
#pragma once

#include <memory>
#include <string>

#include "msltx/text/json_fields.h"
#include "msltx/text/model.h"

namespace msltx::text {

// BPE, WordPiece, Unigram or WordLevel; of a file without a type, what its members show.
std::string model_type(const Json& model);

// Tokens and ids of a "vocab" object; throws ValueError for ids that no vocabulary of its size has.
std::vector<std::pair<std::string, int32_t>> read_vocabulary(const Json& model);
// The two tokens of each merge, in either form that files have.
std::vector<std::pair<std::string, std::string>> read_merges(const Json& model);

// Throws ValueError for a model or an option that is not known.
std::shared_ptr<const Model> read_model(const Json& model);

// The object as it stands in a file, with a line for each token.
std::string write_model(const Model& model);
// {"a": 0, ...}, a line each; empty tokens are left out.
std::string write_vocabulary(const std::vector<std::string>& tokens);

}  // namespace msltx::text
