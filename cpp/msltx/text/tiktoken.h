// .tiktoken files: byte sequences and their ranks, which are their ids. The file has neither the
// split pattern nor the special tokens: both come by name.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "msltx/text/tokenizer.h"

namespace msltx::text {

using NamedIds = std::vector<std::pair<std::string, int32_t>>;

// What the file of one of tiktoken's encodings leaves out, by the encoding's name ("cl100k_base").
struct KnownEncoding {
  SplitPattern split;
  NamedIds special_tokens;
};
std::optional<KnownEncoding> known_encoding(std::string_view name);

// Throws FileError, beginning with `name`, for text that is no .tiktoken file, and ValueError for
// special tokens with ids that are taken.
TokenizerSpec parse_tiktoken(std::string_view text, const std::string& name, SplitPattern split,
                             const NamedIds& special_tokens);

}  // namespace msltx::text
