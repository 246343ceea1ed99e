// Fields of the components in a tokenizer.json. Complaints are ValueErrors that go on after the
// file's name: "has normalizer Foo, which is not supported".
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace msltx::text {

using Json = nlohmann::json;

// The member, or null.
const Json& member_of(const Json& object, const char* key);
// The type of a component, which must be an object that names it.
std::string type_of(const Json& component, std::string_view part);
// `otherwise` where the member is missing or null.
std::string text_field(const Json& object, const char* key, const std::string& otherwise);
bool flag_field(const Json& object, const char* key, bool otherwise);
int64_t count_field(const Json& object, const char* key, int64_t otherwise);
// These must be there.
std::string text_field(const Json& object, const char* key);
bool flag_field(const Json& object, const char* key);
int64_t count_field(const Json& object, const char* key);
char32_t character_field(const Json& object, const char* key);
const Json& list_field(const Json& object, const char* key);

[[noreturn]] void unknown_part(std::string_view part, const std::string& type);
[[noreturn]] void wrong_field(const char* key, const Json& value, std::string_view expected);

}  // namespace msltx::text
