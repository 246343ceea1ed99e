// Character classes of regular expressions as ranges of our Unicode tables, as they stand between
// brackets: "\x{41}-\x{5A}...".
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "msltx/text/regex.h"

namespace msltx::text {

// Of a general category, of one letter or two, or of all others; none where it is no category.
std::optional<std::string> category_ranges(std::string_view name, bool negated);

// Of \w, \s and \d. Made once: an expression may ask for them several times.
const std::string& word_ranges(RegexDialect dialect, bool in_brackets);
const std::string& space_ranges();
const std::string& digit_ranges();

// Of \W, \S or \D within brackets.
std::string without(char kind, RegexDialect dialect);

// Of "alpha" or "^alpha", in Oniguruma's meaning of [:alpha:] over all of Unicode; none where there
// is no POSIX class of that name.
std::optional<std::string> posix_ranges(std::string_view name);

}  // namespace msltx::text
