#include "msltx/text/split.h"

#include <gtest/gtest.h>

#include "text/reference.h"

namespace msltx::text {
namespace {

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> pieces;
  for_each_piece<Gpt2Split>(text, [&](std::string_view piece) { pieces.emplace_back(piece); });
  return pieces;
}

using Pieces = std::vector<std::string>;

TEST(Gpt2Split, Words) {
  EXPECT_EQ(split("Hello world, it's 2024!"),
            (Pieces{"Hello", " world", ",", " it", "'s", " 2024", "!"}));
  EXPECT_EQ(split("we'll they've I'd 'sx ''t 'LL"),
            (Pieces{"we", "'ll", " they", "'ve", " I", "'d", " '", "sx", " ''", "t", " '", "LL"}));
  EXPECT_EQ(split("x'r 'l"), (Pieces{"x", "'", "r", " '", "l"}));
}

TEST(Gpt2Split, WhitespaceLeavesItsLastCharacterToWhatFollows) {
  EXPECT_EQ(split("a  b"), (Pieces{"a", " ", " b"}));
  EXPECT_EQ(split("a \n b"), (Pieces{"a", " \n", " b"}));
  EXPECT_EQ(split("a\n\nb"), (Pieces{"a", "\n", "\n", "b"}));
  EXPECT_EQ(split("a\nb"), (Pieces{"a", "\n", "b"}));
  EXPECT_EQ(split("a   "), (Pieces{"a", "   "}));
  EXPECT_EQ(split(" "), (Pieces{" "}));
  EXPECT_EQ(split("a\u3000\u3000b"), (Pieces{"a", "\u3000", "\u3000", "b"}));
}

TEST(Gpt2Split, ClassesOfOtherScripts) {
  EXPECT_EQ(split("中文 und٣٤é x\u0301y"),
            (Pieces{"中文", " und", "٣٤", "é", " x", "\u0301", "y"}));
}

TEST(Gpt2Split, EqualsTheDefinitionOnRandomText) {
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    const std::string text = reference::RandomText(seed).text(1 + seed % 60);
    ASSERT_EQ(split(text), reference::split_gpt2(text)) << "seed " << seed << ": " << text;
  }
}

// Where is_boundary says so, splitting the two halves apart gives what splitting the whole gives.
TEST(Gpt2Split, BoundariesMayBeCut) {
  int boundaries = 0;
  for (uint32_t seed = 0; seed < 500; ++seed) {
    const std::string text = reference::RandomText(seed).text(40);
    const Pieces whole = split(text);
    for (size_t at = 1; at < text.size(); ++at) {
      if (!Gpt2Split::is_boundary(text.data(), text.data() + at)) continue;
      ++boundaries;
      Pieces halves = split(text.substr(0, at));
      for (const std::string& piece : split(text.substr(at))) halves.push_back(piece);
      ASSERT_EQ(halves, whole) << "seed " << seed << " at " << at;
    }
  }
  EXPECT_GT(boundaries, 500);
}

}  // namespace
}  // namespace msltx::text
