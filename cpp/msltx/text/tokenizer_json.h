// tokenizer.json in the Hugging Face layout: reading and writing. A component that this library
// does not have is an error that names it. docs/formats.md lists what is read and what is written.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "msltx/text/tokenizer.h"

namespace msltx::text {

// The member of "model" that only msltx writes and reads: roles of tokens, and what it was trained
// with. The Hugging Face library lets unknown members of a model stand.
inline constexpr const char* kOwnMember = "msltx";

// Throws FileError, beginning with `name`, for text that is no tokenizer.json or has parts unknown
// here.
TokenizerSpec parse_tokenizer_json(std::string_view json, const std::string& name);

// name(id) is the token of an id.
std::string write_tokenizer_json(const TokenizerSpec& spec,
                                 const std::function<std::string(int32_t)>& name);

// The parts as they are written; null where there is none.
using ordered_json = nlohmann::ordered_json;  // for writing; its look-ups are linear
ordered_json normalizer_json(const TokenizerSpec& spec);
ordered_json pre_tokenizer_json(const TokenizerSpec& spec);
ordered_json decoder_json(const TokenizerSpec& spec);
ordered_json post_processor_json(const TokenizerSpec& spec,
                                 const std::function<std::string(int32_t)>& name);
// [BOS] text [EOS], from prefix and suffix.
ordered_json template_json(const TokenizerSpec& spec,
                           const std::function<std::string(int32_t)>& name);

}  // namespace msltx::text
