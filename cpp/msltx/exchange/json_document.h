// JSON that comes from a file: parsed with a bound on depth, and documents of ours that carry
// `format` and `version`. Every failure is one FileError that names the file.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "msltx/base/file.h"

namespace msltx::exchange {

// Refuses what is no JSON, nests deeper than 64, or has a name twice in one object.
nlohmann::json parse_json(const Path& path, std::string_view text);

// Of every document and container of ours: "FORMAT" in a version up to `newest`.
void check_format(const Path& path, const nlohmann::json& format, const nlohmann::json& version,
                  std::string_view expected, int64_t newest);

// The object in the file, less `format` and `version`, which are checked.
nlohmann::json read_json_document(const Path& path, std::string_view format, int64_t newest);

// `fields` with `format` and `version` before them, indented, through AtomicFile.
void write_json_document(const Path& path, std::string_view format, int64_t version,
                         const nlohmann::json& fields);

}  // namespace msltx::exchange
