// Characters of a regular expression as PCRE2 is to read them, with or without their case.
#pragma once

#include <string>

#include "msltx/text/code_points.h"

namespace msltx::text {

// One after the other, each for itself.
std::string literal(const std::u32string& characters);

// Whatever their case. As Oniguruma has it, a character that ignoring case makes several of matches
// those and is matched by them ("ss" by U+00DF), but not where `one_by_one`.
std::string ignoring_case(const std::u32string& characters, bool one_by_one);

// One of the members, or with `others` none of them, whatever its case.
std::string ignoring_case(const CodePoints& members, bool others);

}  // namespace msltx::text
