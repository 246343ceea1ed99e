#include "msltx/exchange/json_document.h"

#include <set>
#include <string>
#include <vector>

#include "msltx/base/error.h"

namespace msltx::exchange {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int kDeepest = 64;                       // ours nest 3 deep; printing recurses
constexpr uintmax_t kLargestDocument = 64u << 20;  // bytes; ours have a few thousand

// Sees every event of the parser: nlohmann itself keeps the last of two equal names in silence.
class Watch {
 public:
  explicit Watch(const Path& path) : path_(path) {}

  bool operator()(int depth, json::parse_event_t event, json& parsed) {
    if (depth > kDeepest) {
      throw FileError(concat(path_.string(), ": JSON nested deeper than ", kDeepest, " levels"));
    }
    if (event == json::parse_event_t::object_start) names_.emplace_back();
    if (event == json::parse_event_t::object_end) names_.pop_back();
    if (event == json::parse_event_t::key) {
      const auto& name = parsed.get_ref<const std::string&>();
      if (!names_.back().insert(name).second) {
        throw FileError(concat(path_.string(), ": the name ", name, " occurs twice"));
      }
    }
    return true;
  }

 private:
  const Path& path_;
  std::vector<std::set<std::string>> names_;
};

std::string shown(const json& value) {
  constexpr size_t kLongest = 40;
  if (value.is_null()) return "missing";
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  return text.size() > kLongest ? text.substr(0, kLongest) + "..." : text;
}

}  // namespace

json parse_json(const Path& path, std::string_view text) {
  Watch watch(path);
  try {
    return json::parse(text, [&](int depth, json::parse_event_t event, json& parsed) {
      return watch(depth, event, parsed);
    });
  } catch (const json::parse_error& e) {
    throw FileError(concat(path.string(), ": not JSON from byte ", e.byte,
                           " on: truncated, damaged or a foreign file"));
  }
}

void check_format(const Path& path, const json& format, const json& version,
                  std::string_view expected, int64_t newest) {
  if (format != expected) {
    throw FileError(
        concat(path.string(), ": format is ", shown(format), "; it must be \"", expected, "\""));
  }
  if (!version.is_number_integer() || version < 1) {
    throw FileError(concat(path.string(), ": version is ", shown(version),
                           "; it must be an integer from 1 to ", newest));
  }
  if (version > newest) {
    throw FileError(concat(path.string(), ": version is ", shown(version),
                           ", newer than this msltx reads (", newest, ")"));
  }
}

json read_json_document(const Path& path, std::string_view format, int64_t newest) {
  std::error_code ignored;  // a missing file is read_file's to report
  const uintmax_t size = std::filesystem::file_size(path, ignored);
  if (!ignored && size > kLargestDocument) {
    throw FileError(concat(path.string(), ": ", size, " bytes; a ", format,
                           " document has at most ", kLargestDocument));
  }
  json document = parse_json(path, read_file(path));
  if (!document.is_object()) {
    throw FileError(concat(path.string(), ": not an object with a format and a version"));
  }
  const auto take = [&](const char* name) {
    json value = document.contains(name) ? document[name] : json();
    document.erase(name);
    return value;
  };
  const json found = take("format");
  check_format(path, found, take("version"), format, newest);
  return document;
}

void write_json_document(const Path& path, std::string_view format, int64_t version,
                         const json& fields) {
  ordered_json document = {{"format", format}, {"version", version}};
  for (const auto& [name, value] : fields.items()) document[name] = value;
  write_file(path, document.dump(2) + "\n");
}

}  // namespace msltx::exchange
