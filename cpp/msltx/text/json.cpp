#include "msltx/text/json.h"

#include <algorithm>
#include <cstdint>

#include "msltx/base/error.h"

namespace msltx::text {
namespace {

using nlohmann::json;

constexpr int kDeepest = 64;  // tokenizer files nest some 10 deep

// The line, from 1 on, in which the last byte stands.
int64_t line_of_end(std::string_view text) {
  if (!text.empty()) text.remove_suffix(1);
  return 1 + std::count(text.begin(), text.end(), '\n');
}

}  // namespace

json parse_json(std::string_view text, const std::string& name) {
  try {
    return json::parse(text, [&](int depth, json::parse_event_t, json&) {
      if (depth > kDeepest) {
        throw FileError(concat(name, " is nested deeper than ", kDeepest, " levels"));
      }
      return true;
    });
  } catch (const json::parse_error& error) {
    const std::string_view read = text.substr(0, std::min(error.byte, text.size()));
    throw FileError(concat(name, " is not a JSON file (line ", line_of_end(read), ")"));
  } catch (const json::out_of_range&) {
    throw FileError(concat(name, " is not a JSON file: it holds a number that is too large"));
  }
}

}  // namespace msltx::text
