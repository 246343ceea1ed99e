// One field of a JSON record: what a line of a .jsonl file is read for.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace msltx::data {

// True for names that end with .jsonl or .ndjson, also before .gz and .zst.
bool is_json_lines(const std::filesystem::path& path);

// Puts the text of the record's own `field` into `out`; false where the line is no JSON object or
// has no such field that is text. Of a field that is given twice the last one counts.
bool read_json_field(std::string_view line, std::string_view field, std::string& out);

}  // namespace msltx::data
