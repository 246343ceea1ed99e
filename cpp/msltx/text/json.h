// JSON files of others, read so that no nesting can exhaust the stack: printing a value recurses.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace msltx::text {

// Throws FileError, beginning with `name`, for text that is no JSON or nests too deep.
nlohmann::json parse_json(std::string_view text, const std::string& name);

}  // namespace msltx::text
