// The tokens that play a part in training and generation: padding, unknown text, begin and end.
// Which they are is said by their usual names, by files beside a tokenizer.json, or by the user.
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "msltx/base/file.h"
#include "msltx/text/added_tokens.h"

namespace msltx::text {

struct TokenRoles {
  std::optional<int32_t> pad, unk, bos, eos;
};

// The tokens by role; what is not given follows from the usual names.
struct RoleNames {
  std::optional<std::string> pad, unk, bos, eos;
};

struct Role {
  const char* name;  // "pad"
  std::optional<int32_t> TokenRoles::*id;
  std::optional<std::string> RoleNames::*token;
};
inline constexpr std::array<Role, 4> kRoles{{
    {"pad", &TokenRoles::pad, &RoleNames::pad},
    {"unk", &TokenRoles::unk, &RoleNames::unk},
    {"bos", &TokenRoles::bos, &RoleNames::bos},
    {"eos", &TokenRoles::eos, &RoleNames::eos},
}};

// By the usual names of special tokens.
TokenRoles find_roles(const std::vector<AddedToken>& added);

// From tokenizer_config.json and, where that is silent, special_tokens_map.json in a folder: the
// members pad_token, unk_token, bos_token and eos_token. Throws FileError for files that are no
// JSON objects.
RoleNames read_role_names(const Path& folder);

// {"pad": "[PAD]"} and back. Throws ValueError for a member that is no text.
nlohmann::ordered_json roles_json(const RoleNames& names);
RoleNames roles_from_json(const nlohmann::json& json);

}  // namespace msltx::text
