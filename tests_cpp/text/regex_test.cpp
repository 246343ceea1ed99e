#include "msltx/text/regex.h"

#include <gtest/gtest.h>

#include <map>

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
Pieces matches(std::string_view expression, const std::string& text) {
  return matches(Regex(expression), text);
}

// The splitters that were written by hand against the expressions that they stand for.
TEST(Regex, SplittersAreTheirExpressions) {
  for (const char* name : {"gpt2", "cl100k", "o200k", "llama3", "qwen2"}) {
    const SplitPattern pattern = *split_pattern_from_name(name);
    const Regex regex(regex_of(pattern));
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

TEST(Regex, NegatedClassesInBracketsToo) {
  const std::string text = "aB1 \u00e9\u4e2d.";
  for (const auto& [plain, negated] : std::map<std::string, std::string>{{"\\p{L}", "\\P{L}"},
                                                                         {"\\p{Lu}", "\\P{Lu}"},
                                                                         {"\\s", "\\S"},
                                                                         {"\\d", "\\D"},
                                                                         {"\\w", "\\W"}}) {
    EXPECT_EQ(matches("[" + negated + "]", text), matches("[^" + plain + "]", text));
    EXPECT_EQ(matches(negated, text), matches("[^" + plain + "]", text));
    EXPECT_EQ(matches("[^" + negated + "]", text), matches(plain, text));
  }
  // Surrogates: a class of nothing, which must not take in what follows it.
  EXPECT_EQ(matches("\\p{Cs}|[\\p{Cs}]|[a-z]+", "abc ]| ABC"), Pieces{"abc"});
  EXPECT_EQ(matches("[^\\p{Cs}]+", "a]\n"), Pieces{"a]\n"});
}

TEST(Regex, OnigurumaReadsSomeThingsOtherwise) {
  EXPECT_EQ(matches("\\p{N}{1,3}+", "12345"), Pieces{"12345"});
  EXPECT_EQ(matches("a$", "a\nba"), (Pieces{"a", "a"}));
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
  EXPECT_EQ(matches("a(?i)b|c", "aBaCbc"), (Pieces{"aB", "aC"}));
  EXPECT_EQ(matches("(x(?i)b|c)+d", "xBxCdxBD"), Pieces{"xBxCd"});
  EXPECT_EQ(matches("(?x)a\u2028 b\v", "ab a\u2028b\v"), Pieces{"a\u2028b\v"});
}

TEST(Regex, BracketsMayBeginWithPunctuation) {
  EXPECT_EQ(matches("[.,!.]+[:;:][^=x=]", ".!;y"), Pieces{".!;y"});
}

TEST(Regex, ClassesAreNoEndsOfRanges) {
  EXPECT_EQ(matches("[\\w-]+[-\\d][a-z-]", "a-1-"), Pieces{"a-1-"});
  EXPECT_EQ(matches("[a-c-e]+|[\u00e9-\\x{ea}-]", "abc-de\u00ea"), (Pieces{"abc-", "e", "\u00ea"}));
  EXPECT_EQ(matches("[!--]+", "+,-."), Pieces{"+,-"});
  EXPECT_EQ(matches("[a-z[A-Z]-9]+", "aZ-98"), Pieces{"aZ-9"});
  for (const char* wrong : {"[\\w-z]", "[+-\\d]", "[+-[:digit:]]", "[[:punct:]-a]", "[a-[b]]",
                            "[z-a]", "[a-\\n]", "[]", "[^]", "[[]"}) {
    EXPECT_THROW(Regex{wrong}, ValueError) << wrong;
  }
}

TEST(Regex, ClassesMayStandInClasses) {
  EXPECT_EQ(matches("[a-z&&[^aeiou]]+", "hello"), (Pieces{"h", "ll"}));
  EXPECT_EQ(matches("[\\w&&[^\\d_]]+", "ab1_c"), (Pieces{"ab", "c"}));
  EXPECT_EQ(matches("[[a-c]x]+", "abxz"), Pieces{"abx"});
  EXPECT_EQ(matches("[^[^a]b]+", "abac"), (Pieces{"a", "a"}));
  EXPECT_EQ(matches("[^a-z&&[^aeiou]]+", "hello1"), (Pieces{"e", "o1"}));
  EXPECT_EQ(matches("[a-z&&b-y&&c-x]+", "abcxyz"), Pieces{"cx"});
  EXPECT_EQ(matches("[a-z&&^aeiou]+", "hello^"), (Pieces{"e", "o"}));
  EXPECT_EQ(matches("[a[:b]]", "a[:b]"), (Pieces{"a", ":", "b"}));
  EXPECT_EQ(matches("[a&&b]|[&&a]|c", "a&bc"), Pieces{"c"});
  EXPECT_EQ(matches("(?i)[[a-c]x&&[^b]]+", "abxBAX"), (Pieces{"a", "x", "AX"}));
  EXPECT_THROW(Regex(std::string(100, '[') + "a" + std::string(100, ']')), ValueError);
  EXPECT_EQ(matches("[\\p{Word}]+|\\p{Word}", "a\u00b2"), (Pieces{"a", "\u00b2"}));
}

TEST(Regex, ScriptsAreNotTheirExtensions) {
  EXPECT_EQ(matches("\\p{Han}+", "中、文・漢々〇 かカ。"), (Pieces{"中", "文", "漢々〇"}));
  EXPECT_EQ(matches("[\\p{Hiragana}\\p{katakana}]+", "あーカ、"), (Pieces{"あ", "カ"}));
  EXPECT_EQ(matches("\\P{Hani}+", "中、文"), Pieces{"、"});
  EXPECT_EQ(matches("\\p{^Latin}+", "aéб"), Pieces{"б"});
  EXPECT_EQ(matches("\\p{Emoji_Presentation}", "a1\u2603\U0001F600"), Pieces{"\U0001F600"});
}

TEST(Regex, PropertiesHaveShortAndLongNames) {
  const std::string text = "aB1. ";
  for (const char* name : {"Lu", "lu", "Uppercase_Letter", "uppercase letter", "L-u", "Upper"}) {
    EXPECT_EQ(matches(concat("\\p{", name, "}"), text), Pieces{"B"}) << name;
  }
  EXPECT_EQ(matches("\\p{LC}+", text), Pieces{"aB"});
  EXPECT_EQ(matches("\\p{Any}+", text), Pieces{text});
  EXPECT_EQ(matches("\\p{Punct}+|[[:punct:]]x", "$.$x"), (Pieces{".", "$x"}));
  EXPECT_EQ(matches("\\pL", "apL"), Pieces{"pL"});  // no class without braces
}

TEST(Regex, IgnoringCaseLooksIntoBracketsAlone) {
  EXPECT_EQ(matches("(?i)\\p{Lu}+|[\\p{Ll}]+", "abAB"), Pieces{"abAB"});
  EXPECT_EQ(matches("(?i)\\p{Lu}+", "abAB"), Pieces{"AB"});
  EXPECT_EQ(matches("(?i)[^\\p{Lu}]+", "abAB1"), Pieces{"1"});
}

TEST(Regex, IgnoringCaseMakesSeveralCharactersOfOne) {
  EXPECT_EQ(matches("(?i)ss", "ß ẞ sS s"), (Pieces{"ß", "ẞ", "sS"}));
  EXPECT_EQ(matches("(?i)ßx", "ssx ẞX"), (Pieces{"ssx", "ẞX"}));
  EXPECT_EQ(matches("(?i)xffi", "xﬃ xﬀi xfﬁ"), Pieces{"xﬃ"});
  EXPECT_EQ(matches("(?i)ﬀi", "ffi ﬃ ﬀi fﬁ"), (Pieces{"ffi", "ﬀi"}));
  EXPECT_EQ(matches("(?i)sss", "ßs sß"), Pieces{"ßs"});
  EXPECT_EQ(matches("(?i)stop", "ﬆop ﬅop"), (Pieces{"ﬆop", "ﬅop"}));
  EXPECT_EQ(matches("(?i)[ß]", "ss"), Pieces{"ss"});
  EXPECT_EQ(matches("(?i)[ßs]", "ss"), (Pieces{"s", "s"}));
  EXPECT_EQ(matches("(?i)ss?|s{2}", "ß"), Pieces{});
  EXPECT_EQ(matches("(?i)s{1}s", "ß"), Pieces{"ß"});
  EXPECT_EQ(matches("(?i)s(?:)s", "ß"), Pieces{});
  EXPECT_EQ(matches("(?i)[ﬆ]", "ﬅ"), Pieces{"ﬅ"});
  EXPECT_EQ(matches("(?i)\u03f1\u0313", "\u1fe4"), Pieces{"\u1fe4"});
  EXPECT_EQ(matches("(?i)\u019b[\u0264]\U00010D55", "\ua7dc\ua7cb\U00010D75"),
            Pieces{"\ua7dc\ua7cb\U00010D75"});
  EXPECT_EQ(matches("(?i)(?:(?:s))s|(?:x)?(?:s|y)", "ßs"), (Pieces{"ß", "s"}));
  EXPECT_EQ(matches("ss|(?i)[s]s", "ß"), Pieces{});
}

TEST(Regex, CharactersBehindABackslash) {
  EXPECT_EQ(matches("\\x41{2}+|\\101", "AAAAA"), (Pieces{"AAAA", "A"}));
  EXPECT_EQ(matches("\\x{1F600}{2}+", "\U0001F600\U0001F600"), Pieces{"\U0001F600\U0001F600"});
  EXPECT_EQ(matches("\\xc3\\xa9[\\303\\252]", "\u00e9\u00ea"), Pieces{"\u00e9\u00ea"});
  EXPECT_EQ(matches("\\cA\\C-B\\o{103}\\e\\a\\-\\%",
                    "\x01\x02"
                    "C\x1b\a-%"),
            Pieces{"\x01\x02"
                   "C\x1b\a-%"});
  EXPECT_EQ(matches("\\Qa.\\E", "Qa.E a. QabE"), (Pieces{"Qa.E", "QabE"}));
  EXPECT_EQ(matches("(a)\\11|\\08", std::string("a\t\0"
                                                "8",
                                                4)),
            (Pieces{"a\t", std::string("\0"
                                       "8",
                                       2)}));
  for (const char* wrong :
       {"\\", "\\x", "\\xe9", "\\x{110000}", "\\x{D800}", "\\x{41", "\\u12", "\\u00e\u00e9",
        "\\400", "\\8", "\\1a", "(a)\\2", "\\c", "\\y", "\\M-A"}) {
    EXPECT_THROW(Regex{wrong}, ValueError) << wrong;
  }
}

TEST(Regex, RepeatsMayBeRepeated) {
  EXPECT_EQ(matches("a{2}{3}", "aaaaaaa"), Pieces{"aaaaaa"});
  EXPECT_EQ(matches("a{2}*b**c+*", "aaaabbcc"), Pieces{"aaaabbcc"});
  EXPECT_EQ(matches("(?x)a{2} +", "aaaa"), Pieces{"aaaa"});
  EXPECT_EQ(matches("a{3,1}a|b", "aaaab"), (Pieces{"aaaa", "b"}));
  std::string deep = "(?i)";
  for (int i = 0; i < 60'000; ++i) deep += "(?:";
  EXPECT_THROW(Regex{deep}, ValueError);
  EXPECT_THROW(Regex("a" + std::string(50, '*')), ValueError);
  EXPECT_THROW(Regex("(?:\\b(?:s|t)*){2}"), ValueError);  // Oniguruma stops at an empty round
  EXPECT_THROW(Regex("a\xff"), ValueError);
  EXPECT_EQ(matches("a{,}|b{|c{ 2}", "a{,}b{c{ 2}"), (Pieces{"a{,}", "b{", "c{ 2}"}));
  for (const char* wrong : {"*a", "a|+", "?", "{2}a", "^*a", "\\b+a", "(?=a)*", "a{70000}"}) {
    EXPECT_THROW(Regex{wrong}, ValueError) << wrong;
  }
}

TEST(Regex, GroupsMayBeCalledAndReferredTo) {
  EXPECT_EQ(matches("(?<n>a|b)(c)\\k<n>", "acb bcb"), Pieces{"bcb"});
  EXPECT_EQ(matches("(a|b)\\k<-1>\\1\\k'1'", "aabb aaaa"), Pieces{"aaaa"});
  EXPECT_EQ(matches("\\g<later>-(?'later'\\d)", "1-2"), Pieces{"1-2"});
  EXPECT_EQ(matches("(?<a>x)(?<b>\\g<a>y)\\g<b>", "xxyxy"), Pieces{"xxyxy"});
  for (const char* wrong :
       {"(?<n>a)(b)\\1", "(?<n>a)|(?<n>b)", "\\k<n>", "\\g<1>", "(?<1>a)", "(?<n>a)\\g<n>\\k<n>",
        "(?P<n>a)", "(?~a)", "(*FAIL)", "(?(1)a|b)",
        // Oniguruma's depth of calls and PCRE2's differ, and so do these:
        "a\\g<0>?", "(a\\g<1>?)", "(?<a>x\\g<b>?)(?<b>\\g<a>)", "(a|b\\1)+", "(?i)(a)\\1"}) {
    EXPECT_THROW(Regex{wrong}, ValueError) << wrong;
  }
}

// What PCRE2's compiler for machines gets wrong is interpreted.
TEST(Regex, AtomicGroupsMayBeLazyInside) {
  EXPECT_EQ(matches("(?>a+?)b", "aab"), Pieces{"ab"});
  EXPECT_EQ(matches("(?>\\s+?)\\S", "  x 12."), (Pieces{" x", " 1"}));
  EXPECT_EQ(matches("([ab]?[ab]?a)*+(?m:.)\\1", " bab b a"), Pieces{});
}

// As the onig crate has it: behind an empty match the search goes on where it ended.
TEST(Regex, EmptyMatchesDoNotStandBehindAMatch) {
  EXPECT_EQ(matches("a\\Kx*", "aax"), (Pieces{"", "x"}));
  EXPECT_EQ(matches("a\\K", "aab"), (Pieces{"", ""}));
  EXPECT_EQ(matches("(?!\\G)|\\Ga", "bab"), (Pieces{"", "a", ""}));
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
  EXPECT_THROW(matches("(?=\\g<k>)|(?<k>ab\\K)", "abab"), ValueError);
}

TEST(Regex, EmptyMatchesAdvanceByCharacters) {
  EXPECT_EQ(matches("x*", "éx"), (Pieces{"", "x"}));
  EXPECT_EQ(matches("", "é"), (Pieces{"", ""}));
}

TEST(Regex, WrongExpressionsSayWhy) {
  for (const char* wrong : {"(", "[a", "\\p{", "[[:alfa:]]", "[[:alpha]", "\\p{Nonsense}", "*",
                            "\\C", "(?s)a", "(?é)", ")", "a)", "(?#"}) {
    EXPECT_THROW(Regex{wrong}, ValueError) << wrong;
  }
}

}  // namespace
}  // namespace msltx::text
