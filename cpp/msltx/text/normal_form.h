// Unicode normalization forms, by utf8proc. Which characters have decompositions is the business of
// the utf8proc that this was built with; forms of assigned characters never change.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace msltx::text {

enum class NormalForm : uint8_t { none, nfc, nfd, nfkc, nfkd };

NormalForm normal_form_from_name(std::string_view name);  // throws ValueError
std::string_view name_of(NormalForm form);

// Valid UTF-8 in, valid UTF-8 out. `none` copies.
std::string normalize(std::string_view text, NormalForm form);

// The version of Unicode that utf8proc knows, as "15.0.0".
std::string normal_form_version();

}  // namespace msltx::text
