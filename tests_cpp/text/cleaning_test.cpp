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
  EXPECT_EQ(clean(" A  É ", {.lowercase = true, .whitespace = true}), "a é");
}

TEST(Cleaning, ControlCharactersGoAndWhiteSpaceStays) {
  using namespace std::string_view_literals;
  EXPECT_EQ(clean("a\0b\x01\t\n\r\x0b\x0c\u0085\x7f\u009f\u200bc"sv, {.control = true}),
            "ab\t\n\r\x0b\x0c\u0085\u200bc");
}

TEST(Cleaning, AccentsGoAndLettersStay) {
  const Cleaning accents{.accents = true};
  EXPECT_EQ(clean("café Ångström Việt", accents), "cafe Angstrom Viet");
  EXPECT_EQ(clean("cafe\u0301", accents), "cafe");
  EXPECT_EQ(clean("øß中한글", accents), "øß中한글");  // no marks; Hangul is composed again
  EXPECT_EQ(clean("й", accents), "и");
  EXPECT_EQ(clean("한é", {.form = NormalForm::nfd, .accents = true}),
            "\u1112\u1161\u11ab"
            "e");
}

TEST(Cleaning, PunctuationGoesAndSymbolsStay) {
  EXPECT_EQ(clean("Well, \"don't\" — $5+3=8 «x» 、。¿", {.punctuation = true}),
            "Well dont  $5+3=8 x ");
}

TEST(Cleaning, Forms) {
  EXPECT_EQ(clean("ﬁ①Ａ e\u0301", {.form = NormalForm::nfkc}), "fi1A é");
  EXPECT_EQ(clean("ﬁ①Ａ e\u0301", {.form = NormalForm::nfc}), "ﬁ①Ａ é");
  EXPECT_EQ(clean("é", {.form = NormalForm::nfd}), "e\u0301");
  EXPECT_EQ(clean("ｶﾞ", {.form = NormalForm::nfkd}), "カ\u3099");
}

// What a later step brings together is in the form too.
TEST(Cleaning, TheResultIsInTheForm) {
  EXPECT_EQ(clean("e!\u0301", {.form = NormalForm::nfc, .punctuation = true}), "é");
  EXPECT_EQ(clean("e\x01\u0301", {.control = true, .form = NormalForm::nfc}), "é");
}

TEST(Cleaning, AllTogether) {
  const Cleaning all{.control = true,
                     .form = NormalForm::nfkc,
                     .accents = true,
                     .lowercase = true,
                     .punctuation = true,
                     .whitespace = true};
  EXPECT_EQ(clean(" Ｔhé\u00a0 \x02“CAFÉ”, №\u2167\r\n!\tx ", all), "the cafe noviii\nx");
  std::vector<std::string> names;
  for (const CleaningStep& step : steps_of(all)) names.push_back(step.name);
  EXPECT_EQ(names,
            (std::vector<std::string>{"remove_control", "normalize_unicode", "strip_accents",
                                      "lowercase", "remove_punctuation", "normalize_whitespace"}));
  EXPECT_TRUE(steps_of({}).empty());
}

TEST(Cleaning, CleaningTwiceChangesNothing) {
  const std::string once = whitespace(" x \r\n\r y\u2003\u2003z\n\n  ");
  EXPECT_EQ(whitespace(once), once);
}

}  // namespace
}  // namespace msltx::text
