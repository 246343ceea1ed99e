// Names and groups of general categories; unicode.h says which one a character has.
#pragma once

#include <string_view>

#include "msltx/text/unicode.h"

namespace msltx::text {

inline constexpr int kGeneralCategories = 30;

// "Lu"; the first letter is the group (L, M, N, P, S, Z, C).
inline std::string_view name_of(GeneralCategory category) {
  constexpr std::string_view kNames =
      "CnCcCfCoCsLlLmLoLtLuMcMeMnNdNlNoPcPdPePfPiPoPsScSkSmSoZlZpZs";
  static_assert(kNames.size() == 2 * kGeneralCategories);
  return kNames.substr(2 * static_cast<size_t>(category), 2);
}

inline bool is_mark(GeneralCategory c) {
  return c >= GeneralCategory::Mc && c <= GeneralCategory::Mn;
}
inline bool is_punctuation(GeneralCategory c) {
  return c >= GeneralCategory::Pc && c <= GeneralCategory::Ps;
}

}  // namespace msltx::text
