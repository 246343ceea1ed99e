#include "msltx/text/token_roles.h"

#include <initializer_list>
#include <string_view>

#include "msltx/base/error.h"
#include "msltx/text/json.h"
#include "msltx/text/json_fields.h"

namespace msltx::text {
namespace {

std::optional<int32_t> role(const std::vector<AddedToken>& added,
                            std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) {
    for (const AddedToken& token : added) {
      if (token.special && token.content == name) return token.id;
    }
  }
  return std::nullopt;
}

// A token as these files write it: its text, or an object that has it as "content".
std::optional<std::string> token_of(const Json& value) {
  const Json& text = value.is_object() ? member_of(value, "content") : value;
  if (!text.is_string() || text.get_ref<const std::string&>().empty()) return std::nullopt;
  return text.get<std::string>();
}

}  // namespace

TokenRoles find_roles(const std::vector<AddedToken>& added) {
  return {.pad = role(added, {"[PAD]", "<pad>", "<|pad|>", "<|padding|>"}),
          .unk = role(added, {"[UNK]", "<unk>"}),
          .bos = role(added, {"[BOS]", "<bos>", "<s>", "<|begin_of_text|>", "<|startoftext|>",
                              "<|endoftext|>"}),
          .eos = role(added, {"[EOS]", "<eos>", "</s>", "<|end_of_text|>", "<|endoftext|>"})};
}

RoleNames read_role_names(const Path& folder) {
  RoleNames names;
  for (const char* file : {"tokenizer_config.json", "special_tokens_map.json"}) {
    const Path path = folder / file;
    std::error_code absent;
    if (!std::filesystem::is_regular_file(path, absent)) continue;
    const Json json = parse_json(read_file(path), path.string());
    if (!json.is_object()) throw FileError(concat(path.string(), " is not a JSON object"));
    for (const Role& role : kRoles) {
      auto& name = names.*role.token;
      if (!name) name = token_of(member_of(json, concat(role.name, "_token").c_str()));
    }
  }
  return names;
}

nlohmann::ordered_json roles_json(const RoleNames& names) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const Role& role : kRoles) {
    if (names.*role.token) json[role.name] = *(names.*role.token);
  }
  return json;
}

RoleNames roles_from_json(const nlohmann::json& json) {
  RoleNames names;
  for (const Role& role : kRoles) {
    const std::string name = text_field(json, role.name, "");
    if (!name.empty()) names.*role.token = name;
  }
  return names;
}

}  // namespace msltx::text
