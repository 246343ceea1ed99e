#include "msltx/text/cleaning.h"

#include <gtest/gtest.h>

namespace msltx::text {
namespace {

std::string whitespace(std::string_view text) { return clean(text, {.whitespace = true}); }

TEST(Cleaning, NothingUnlessAsked) { EXPECT_EQ(clean(" A\t\tb \r\n", {}), " A\t\tb \r\n"); }

TEST(Cleaning, WhitespaceRunsBecomeOneSpace) {
  EXPECT_EQ(whitespace("a  b\t\tc \t d"), "a b c d");
  EXPECT_EQ(whitespace("a\u00a0\u2003b\u3000c\x0b\x0c d"), "a b c d");
}

TEST(Cleaning, LinesAreTrimmedAndKept) {
  EXPECT_EQ(whitespace("  a \n\t b\t\n   \n\nc  "), "a\nb\n\n\nc");
}

TEST(Cleaning, LineEnds) { EXPECT_EQ(whitespace("a\r\nb\rc\n\r\nd\r"), "a\nb\nc\n\nd\n"); }

TEST(Cleaning, OtherCharactersStay) { EXPECT_EQ(whitespace("a\u200bé中"), "a\u200bé中"); }

TEST(Cleaning, Lowercase) {
  EXPECT_EQ(clean("A  É", {.lowercase = true}), "a  é");
  EXPECT_EQ(clean(" A  É ", {.whitespace = true, .lowercase = true}), "a é");
}

TEST(Cleaning, CleaningTwiceChangesNothing) {
  const std::string once = whitespace(" x \r\n\r y\u2003\u2003z\n\n  ");
  EXPECT_EQ(whitespace(once), once);
}

}  // namespace
}  // namespace msltx::text
