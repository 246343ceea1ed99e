#include "msltx/text/regex.h"

#include <gtest/gtest.h>

#include "msltx/base/error.h"
#include "msltx/text/split_pattern.h"
#include "text/reference.h"

namespace msltx::text {
namespace {

using Pieces = std::vector<std::string>;

Pieces matches(const Regex& regex, const std::string& text) {
  std::vector<TextSpan> spans;
  regex.find_all(text, spans);
  Pieces out;
  for (const TextSpan& span : spans) out.push_back(text.substr(span.begin, span.end - span.begin));
  return out;
}
Pieces matches(std::string_view expression, const std::string& text,
               RegexDialect dialect = RegexDialect::oniguruma) {
  return matches(Regex(expression, dialect), text);
}

// The splitters that were written by hand against the expressions that they stand for.
TEST(Regex, SplittersAreTheirExpressions) {
  for (const char* name : {"gpt2", "cl100k", "o200k", "llama3", "qwen2"}) {
    const SplitPattern pattern = *split_pattern_from_name(name);
    const Regex regex(regex_of(pattern), RegexDialect::oniguruma);
    for (uint32_t seed = 0; seed < 400; ++seed) {
      const std::string text = reference::RandomText(seed).text(1 + seed % 50);
      Pieces split;
      with_split(pattern, [&]<class Split>(Split) {
        for_each_piece<Split>(text, [&](std::string_view piece) { split.emplace_back(piece); });
      });
      ASSERT_EQ(split, matches(regex, text)) << name << ", seed " << seed << ": " << text;
    }
  }
}

TEST(Regex, ClassesAreThoseOfTheTable) {
  // A letter, a digit and a mark of Unicode 16.0, which older libraries do not know.
  const std::string fresh = "\U00010D4A\U00010D40\u0897";
  EXPECT_EQ(matches("\\p{L}", fresh), Pieces{"\U00010D4A"});
  EXPECT_EQ(matches("\\d", fresh), Pieces{"\U00010D40"});
  EXPECT_EQ(matches("[^\\p{L}\\p{N}]+", fresh), Pieces{"\u0897"});
  EXPECT_EQ(matches("\\p{^L}+", fresh), (Pieces{"\U00010D40\u0897"}));
  EXPECT_EQ(matches("[\\P{L}]+", "a1b"), Pieces{"1"});
  EXPECT_EQ(matches("\\s", "a\u0085\u180e\u3000"), (Pieces{"\u0085", "\u3000"}));
  EXPECT_EQ(matches("\\bé+\\b", "é aéb éé"), (Pieces{"é", "éé"}));
}

TEST(Regex, OnigurumaReadsSomeThingsOtherwise) {
  EXPECT_EQ(matches("\\p{N}{1,3}+", "12345"), Pieces{"12345"});
  EXPECT_EQ(matches("\\p{N}{1,3}+", "12345", RegexDialect::plain), (Pieces{"123", "45"}));
  EXPECT_EQ(matches("a$", "a\nba"), (Pieces{"a", "a"}));
  EXPECT_EQ(matches("a$", "a\nba", RegexDialect::plain), Pieces{"a"});
  EXPECT_EQ(matches("\\h+", "xfag"), Pieces{"fa"});
  EXPECT_EQ(matches("a{,2}b", "aaab"), Pieces{"aab"});
  EXPECT_EQ(matches("xa{2}?", "xxaa"), (Pieces{"x", "xaa"}));
  EXPECT_EQ(matches("a{1,2}?", "aa"), (Pieces{"a", "a"}));
  EXPECT_EQ(matches("\\v", "a\n\v"), Pieces{"\v"});
}

TEST(Regex, PosixClassesAreOnigurumasOverUnicode) {
  const auto members = [](const char* name, const std::string& text) {
    std::string all;
    for (const std::string& piece : matches(concat("[[:", name, ":]]+"), text)) all += piece;
    return all;
  };
  // A combining mark that is alphabetic and one that is not, ordinals, a Roman numeral, a circled
  // letter, a digit of another script, a symbol.
  const std::string text = "aB1_ \t\u0345\u0301\u00aa\u2160\u24d0\u0661\u20ac+.\u0085\u3000";
  EXPECT_EQ(members("alpha", text), "aB\u0345\u00aa\u2160\u24d0");
  EXPECT_EQ(members("lower", text), "a\u0345\u00aa\u24d0");
  EXPECT_EQ(members("upper", text), "B\u2160");
  EXPECT_EQ(members("alnum", text), "aB1\u0345\u00aa\u2160\u24d0\u0661");
  EXPECT_EQ(members("digit", text), "1\u0661");
  EXPECT_EQ(members("xdigit", text), "aB1");
  EXPECT_EQ(members("punct", text), "_\u24d0\u20ac+.");
  EXPECT_EQ(members("blank", text), " \t\u3000");
  EXPECT_EQ(members("space", text), " \t\u0085\u3000");
  EXPECT_EQ(members("cntrl", text), "\t\u0085");
  EXPECT_EQ(members("print", "a \t\u3000"), "a \u3000");
  EXPECT_EQ(members("graph", "a \t\u3000"), "a");
  EXPECT_EQ(members("word", "a_\u0301 "), "a_\u0301");
  // Latin-1's numbers belong to \w but to no class in brackets.
  EXPECT_EQ(members("word", "a\u00b2\u2160"), "a\u2160");
  EXPECT_EQ(matches("[\\w]+", "a\u00b2\u2160"), (Pieces{"a", "\u2160"}));
  EXPECT_EQ(matches("\\w+", "a\u00b2\u2160"), Pieces{"a\u00b2\u2160"});
  EXPECT_EQ(members("^ascii", "a\u00e9"), "\u00e9");
  EXPECT_EQ(matches("[^[:space:]x]+", "ab xc"), (Pieces{"ab", "c"}));
  EXPECT_EQ(matches("[[:alpha:]]+", "aé", RegexDialect::plain), Pieces{"a"});
}

TEST(Regex, CharactersMayBeNumbers) {
  EXPECT_EQ(matches("\\u00e9[\\u4E00-\\u9FFF]", "éé\u4e2d"), Pieces{"é\u4e2d"});
}

TEST(Regex, CommentsAreNoPartOfTheExpression) {
  EXPECT_EQ(matches("(?x)\\bab # a word \\b (", "ab cab"), Pieces{"ab"});
  EXPECT_EQ(matches("(?x) a {2}+ # twice \n b [#] \\#", "aaaab##"), Pieces{"aaaab##"});
  EXPECT_EQ(matches("(?x: a # (\n )#\\bb", "a#b"), Pieces{"a#b"});
  EXPECT_EQ(matches("(?:(?x) a )#(?-x) b", "a# b"), Pieces{"a# b"});
  EXPECT_EQ(matches("(?#\\b a comment)\\bb", "b ab"), Pieces{"b"});
}

TEST(Regex, FlagsAreOnigurumas) {
  EXPECT_EQ(matches("(?m)a.b", "a\nb"), Pieces{"a\nb"});
  EXPECT_EQ(matches("(?m)a.b|^c", "a\nb\nc", RegexDialect::plain), Pieces{"c"});
  EXPECT_EQ(matches("a(?i)b|c", "aBaCbc"), (Pieces{"aB", "aC"}));
  EXPECT_EQ(matches("a(?i)b|c", "aBaCbc", RegexDialect::plain), (Pieces{"aB", "C", "c"}));
  EXPECT_EQ(matches("(x(?i)b|c)+d", "xBxCdxBD"), Pieces{"xBxCd"});
  EXPECT_EQ(matches("(?x)a\u2028 b\v", "ab a\u2028b\v"), Pieces{"a\u2028b\v"});
}

TEST(Regex, BracketsMayBeginWithPunctuation) {
  EXPECT_EQ(matches("[.,!.]+[:;:][^=x=]", ".!;y"), Pieces{".!;y"});
}

TEST(Regex, ClassesAreNoEndsOfRanges) {
  EXPECT_EQ(matches("[\\w-]+[-\\d][a-z-]", "a-1-"), Pieces{"a-1-"});
  for (const char* wrong : {"[\\w-z]", "[+-\\d]", "[+-[:digit:]]", "[[:punct:]-a]"}) {
    EXPECT_THROW(Regex(wrong, RegexDialect::oniguruma), ValueError) << wrong;
  }
}

TEST(Regex, WordBoundariesMayBeMany) {
  // Each stands for the ranges of a word's characters four times.
  const std::string regex = "\\bab\\b|\\b\\d+\\b|\\b\\w+\\b|\\B.\\B|(a)\\1";
  EXPECT_EQ(matches(regex.c_str(), "ab 12 é"), (Pieces{"ab", "12", "é"}));
  EXPECT_EQ(matches("(?i)\\bx|\\Bx\\B|", "X ax"), (Pieces{"X", "", "", ""}));
}

TEST(Regex, GroupsMayRepeatOverLongText) {
  std::string text;
  for (int i = 0; i < 200'000; ++i) text += "ab";
  EXPECT_EQ(matches("(?:a|b)+", text), Pieces{text});
  EXPECT_EQ(matches("(a|b)*c", text + "c"), Pieces{text + "c"});
}

TEST(Regex, MatchesThatWouldNeverEndAreRefused) {
  EXPECT_THROW(matches("(?(DEFINE)(?<k>ab\\K))(?=(?&k))", "abab"), ValueError);
  EXPECT_THROW(matches("(?(DEFINE)(?<k>\\Ka))(?<=(?&k))b|a", "ab"), ValueError);
}

TEST(Regex, EmptyMatchesAdvanceByCharacters) {
  EXPECT_EQ(matches("x*", "éx"), (Pieces{"", "x"}));
  EXPECT_EQ(matches("", "é"), (Pieces{"", ""}));
}

TEST(Regex, WrongExpressionsSayWhy) {
  for (const char* wrong : {"(", "[a", "\\p{", "[[:alfa:]]", "[[:alpha]", "\\p{Nonsense}", "*",
                            "[a[b]]", "\\C", "\\u12", "(?s)a"}) {
    EXPECT_THROW(Regex(wrong, RegexDialect::oniguruma), ValueError) << wrong;
  }
}

}  // namespace
}  // namespace msltx::text
