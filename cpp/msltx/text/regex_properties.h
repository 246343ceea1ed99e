// Scripts and other properties of characters that regular expressions name as \p{NAME}, and the
// characters that ignoring case makes several of. The tables are in regex_property_table.cpp, which
// script/generate_regex_properties.py writes.
#pragma once

#include "msltx/text/code_points.h"

namespace msltx::text {

struct RegexProperty {
  const char* name;  // in lowercase, letters and digits alone
  int first_range, range_count;
};

// U+00DF and "ss".
struct MultipleFold {
  char32_t from;
  char32_t to[4];  // two or three and a zero
};

extern const CodePointRange kPropertyRanges[];
extern const RegexProperty kProperties[];
extern const int kPropertyCount;
extern const MultipleFold kMultipleFolds[];
extern const int kMultipleFoldCount;

}  // namespace msltx::text
