// Character classes of regular expressions, of our own Unicode tables and as Oniguruma takes them.
#pragma once

#include <string_view>

#include "msltx/text/code_points.h"

namespace msltx::text {

// Of \w, \s, \d and \h. Oniguruma's \w has Latin-1's numbers in it that are no digits, but not
// within brackets.
const CodePoints& word_characters(bool in_brackets);
const CodePoints& space_characters();
const CodePoints& digit_characters();
const CodePoints& hexadecimal_characters();

// Of \p{NAME}: a general category, a script or another property, by its short or its long name,
// whose case, spaces, "_" and "-" do not count; null where none is known by that name.
const CodePoints* property_called(std::string_view name, bool in_brackets);

// Of [:NAME:]; null where there is no POSIX class of that name.
const CodePoints* posix_class_called(std::string_view name);

}  // namespace msltx::text
