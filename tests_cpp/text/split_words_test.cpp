#include "msltx/text/split_words.h"

#include <gtest/gtest.h>

#include "msltx/text/split_pattern.h"
#include "text/reference.h"

namespace msltx::text {
namespace {

using Pieces = std::vector<std::string>;

Pieces split(SplitPattern pattern, const std::string& text) {
  Pieces pieces;
  with_split(pattern, [&]<class Split>(Split) {
    for_each_piece<Split>(text, [&](std::string_view piece) { pieces.emplace_back(piece); });
  });
  return pieces;
}

TEST(WordSplit, Llama3) {
  const auto pieces = [](const std::string& text) { return split(SplitPattern::llama3, text); };
  EXPECT_EQ(pieces("Hello world, it's 20245!\n\n x"),
            (Pieces{"Hello", " world", ",", " it", "'s", " ", "202", "45", "!\n\n", " x"}));
  EXPECT_EQ(pieces("WE'LL 'x 'S'\u017f"), (Pieces{"WE", "'LL", " '", "x", " '", "S", "'\u017f"}));
  EXPECT_EQ(pieces("(a) \t b\n"), (Pieces{"(a", ")", " \t", " b", "\n"}));
  EXPECT_EQ(pieces("a \n \n  b"), (Pieces{"a", " \n \n", " ", " b"}));
  EXPECT_EQ(pieces("a\n  "), (Pieces{"a", "\n", "  "}));
}

TEST(WordSplit, Cl100kTakesWhiteSpaceAtTheEndWhole) {
  EXPECT_EQ(split(SplitPattern::cl100k, "a\n  "), (Pieces{"a", "\n  "}));
  EXPECT_EQ(split(SplitPattern::cl100k, "a\n  b 1234"),
            (Pieces{"a", "\n", " ", " b", " ", "123", "4"}));
}

TEST(WordSplit, Qwen2TakesDigitsOneByOne) {
  EXPECT_EQ(split(SplitPattern::qwen2, "a 12"), (Pieces{"a", " ", "1", "2"}));
}

TEST(WordSplit, O200kSplitsByCase) {
  const auto pieces = [](const std::string& text) { return split(SplitPattern::o200k, text); };
  EXPECT_EQ(pieces("HelloWorld ABCdef ABC's"), (Pieces{"Hello", "World", " ABCdef", " ABC's"}));
  EXPECT_EQ(pieces("a/b //\n/x"), (Pieces{"a", "/b", " //\n/", "x"}));
  // A letter without case ends what may come before lowercase letters.
  EXPECT_EQ(pieces("\u00aaAB"), (Pieces{"\u00aa", "AB"}));
  EXPECT_EQ(pieces("\u0301AB"), (Pieces{"\u0301", "AB"}));
  EXPECT_EQ(pieces("x\u0301"), (Pieces{"x\u0301"}));
}

// Where is_boundary says so, splitting the two halves apart gives what splitting the whole gives.
TEST(WordSplit, BoundariesMayBeCut) {
  for (const char* name : {"cl100k", "o200k", "llama3", "qwen2"}) {
    const SplitPattern pattern = *split_pattern_from_name(name);
    int boundaries = 0;
    for (uint32_t seed = 0; seed < 500; ++seed) {
      const std::string text = reference::RandomText(seed).text(40);
      const Pieces whole = split(pattern, text);
      for (size_t at = 1; at < text.size(); ++at) {
        if (!SplitTools::is_boundary(text.data(), text.data() + at)) continue;
        ++boundaries;
        Pieces halves = split(pattern, text.substr(0, at));
        for (const std::string& piece : split(pattern, text.substr(at))) halves.push_back(piece);
        ASSERT_EQ(halves, whole) << name << ", seed " << seed << " at " << at;
      }
    }
    EXPECT_GT(boundaries, 500);
  }
}

}  // namespace
}  // namespace msltx::text
