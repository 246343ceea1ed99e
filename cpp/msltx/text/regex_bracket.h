// What stands between brackets in a regular expression.
#pragma once

#include "msltx/text/code_points.h"
#include "msltx/text/regex_reader.h"

namespace msltx::text {

struct Bracket {
  CodePoints members;
  bool others;  // "[^...]": all but the members
};

// Behind "[", up to and over its "]": characters, ranges, classes by a letter, \p or [:NAME:],
// classes inside classes, and && between any of these.
Bracket take_bracket(ExpressionReader& in, int depth = 0);

// Of the class whose letter (or whose \p{NAME}) comes next, behind a backslash; false where none
// does.
bool take_class(ExpressionReader& in, bool in_brackets, CodePoints& members);

}  // namespace msltx::text
