// tokenizer.json in the Hugging Face layout: reading and writing. A component that this library
// does not have is an error that names it. docs/formats.md lists what is read and what is written.
#pragma once

#include <string>
#include <string_view>

#include "msltx/text/tokenizer.h"

namespace msltx::text {

// Throws FileError, beginning with `name`, for text that is no tokenizer.json or has parts unknown
// here.
TokenizerSpec parse_tokenizer_json(std::string_view json, const std::string& name);

std::string write_tokenizer_json(const TokenizerSpec& spec);

}  // namespace msltx::text
