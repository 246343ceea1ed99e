#include "msltx/text/json.h"

#include "msltx/base/error.h"

namespace msltx::text {
namespace {

using nlohmann::json;

constexpr int kDeepest = 64;  // tokenizer files nest some 10 deep

}  // namespace

json parse_json(std::string_view text, const std::string& name) {
  try {
    return json::parse(text, [&](int depth, json::parse_event_t, json&) {
      if (depth > kDeepest) {
        throw FileError(concat(name, " is nested deeper than ", kDeepest, " levels"));
      }
      return true;
    });
  } catch (const json::exception& error) {
    throw FileError(concat(name, " is not a JSON file: ", error.what()));
  }
}

}  // namespace msltx::text
