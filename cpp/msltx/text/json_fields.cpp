#include "msltx/text/json_fields.h"

#include "msltx/base/error.h"
#include "msltx/text/utf8.h"

namespace msltx::text {
namespace {

constexpr int64_t kMaxCount = int64_t{1} << 40;

// Long values would hide what the message says.
constexpr size_t kLongestShown = 120;
std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', true);
  if (text.size() > kLongestShown) text = text.substr(0, kLongestShown) + "...";
  return text;
}

const Json& needed(const Json& object, const char* key) {
  const Json& value = member_of(object, key);
  if (value.is_null()) throw ValueError(concat("has ", shown(object), " without ", key));
  return value;
}

}  // namespace

const Json& member_of(const Json& object, const char* key) {
  static const Json null;
  if (!object.is_object()) return null;
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}

void unknown_part(std::string_view part, const std::string& type) {
  throw ValueError(concat("has ", part, " ", type, ", which is not supported"));
}

void wrong_field(const char* key, const Json& value, std::string_view expected) {
  throw ValueError(concat("has ", key, " ", shown(value), " where ", expected, " is expected"));
}

std::string type_of(const Json& component, std::string_view part) {
  if (!component.is_object()) {
    throw ValueError(concat("has ", part, " ", shown(component), "; an object is expected"));
  }
  const Json& type = member_of(component, "type");
  if (!type.is_string()) throw ValueError(concat("has ", part, " without a type"));
  return type.get<std::string>();
}

std::string text_field(const Json& object, const char* key) {
  const Json& value = needed(object, key);
  if (!value.is_string()) wrong_field(key, value, "text");
  return value.get<std::string>();
}
std::string text_field(const Json& object, const char* key, const std::string& otherwise) {
  return member_of(object, key).is_null() ? otherwise : text_field(object, key);
}

bool flag_field(const Json& object, const char* key) {
  const Json& value = needed(object, key);
  if (!value.is_boolean()) wrong_field(key, value, "true or false");
  return value.get<bool>();
}
bool flag_field(const Json& object, const char* key, bool otherwise) {
  return member_of(object, key).is_null() ? otherwise : flag_field(object, key);
}

int64_t count_field(const Json& object, const char* key) {
  const Json& value = needed(object, key);
  if (!value.is_number_integer() || value < 0 || value > kMaxCount) {
    wrong_field(key, value, "a count");
  }
  return value.get<int64_t>();
}
int64_t count_field(const Json& object, const char* key, int64_t otherwise) {
  return member_of(object, key).is_null() ? otherwise : count_field(object, key);
}

char32_t character_field(const Json& object, const char* key) {
  const std::string text = text_field(object, key);
  const char* p = text.data();
  const char32_t c = text.empty() ? 0 : decode_utf8(p);
  if (text.empty() || p != text.data() + text.size()) {
    wrong_field(key, Json(text), "one character");
  }
  return c;
}

const Json& list_field(const Json& object, const char* key) {
  const Json& value = needed(object, key);
  if (!value.is_array()) wrong_field(key, value, "a list");
  return value;
}

}  // namespace msltx::text
