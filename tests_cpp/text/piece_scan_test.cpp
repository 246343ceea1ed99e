#include "msltx/text/piece_scan.h"

#include <gtest/gtest.h>

#include <random>

#include "msltx/text/split_pattern.h"
#include "msltx/text/word_cut.h"

namespace msltx::text {
namespace {

using Pieces = std::vector<std::string>;

template <class Split>
Pieces one_by_one(const std::string& text) {
  Pieces pieces;
  for_each_piece<Split>(text, [&](std::string_view piece) { pieces.emplace_back(piece); });
  return pieces;
}

template <class Split>
Pieces scanned(const std::string& text) {
  // Of just this size, so that reading beyond it is found.
  const std::vector<char> bytes(text.begin(), text.end());
  Pieces pieces;
  PieceScan scan;
  const char* p = bytes.data();
  const char* const end = p + bytes.size();
  while (p < end) {
    scan.cut<Split>(p, end);
    uint32_t begin = 0;
    for (const uint32_t piece_end : scan.ends()) {
      pieces.emplace_back(scan.text() + begin, piece_end - begin);
      begin = piece_end;
    }
    p += begin;
  }
  return pieces;
}

// What a text is put together from; the rarer a thing, the later.
const std::vector<std::string> kParts = {
    " ",      "a",      "b",      "word",     " ",      "S",      "'",          "s",       "'t",
    "'re",    "'LL",    "1",      "234",      ".",      "\"",     "\n",         "\t",      "\r\n",
    "  ",     "\n\n",   "\u00e9", "\u201c",   "\u4e2d", "\u0301", "\U0001F600", "'\u017f", "\u00a0",
    "\u3000", "\u0663", "\u2028", "12345678", "....",   "\u017f"};

std::string text_of(std::mt19937& random, size_t parts, size_t kinds) {
  std::string text;
  while (parts-- > 0) {
    const std::string& part = kParts[random() % kinds];
    const size_t times = random() % 12 == 0 ? random() % 90 : 1;
    for (size_t i = 0; i < times; ++i) text += part;
  }
  return text;
}

void expect_equal(const std::string& text) {
  for (const char* name : {"gpt2", "llama3", "cl100k", "qwen2", "o200k"}) {
    with_split(*split_pattern_from_name(name), [&]<class Split>(Split) {
      ASSERT_EQ(one_by_one<Split>(text), scanned<Split>(text)) << name;
    });
  }
  ASSERT_EQ(one_by_one<WordCut>(text), scanned<WordCut>(text));
}

TEST(PieceScan, CutsAsThePatternsDo) {
  std::mt19937 random(7);
  for (int round = 0; round < 4000 && !HasFatalFailure(); ++round) {
    const size_t kinds = 1 + random() % kParts.size();
    expect_equal(text_of(random, 1 + random() % 60, kinds));
  }
}

TEST(PieceScan, CutsTextsOfManyWindowsSlow) {
  std::mt19937 random(8);
  for (int round = 0; round < 150 && !HasFatalFailure(); ++round) {
    const size_t kinds = 1 + random() % kParts.size();
    expect_equal(text_of(random, 500 + random() % 4000, kinds));
  }
}

// Whatever stands at the end of a window may be changed by what follows.
TEST(PieceScan, CutsAnythingAtTheEndOfAWindow) {
  for (const std::string& first : kParts) {
    for (const std::string& second : kParts) {
      for (size_t before = PieceScan::kWindow - 9; before <= PieceScan::kWindow; ++before) {
        std::string text = "a";
        while (text.size() < before) text += text.size() % 7 == 3 ? " " : "x";
        const std::string join = first + second;
        expect_equal(text + join + join + "s z");
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(PieceScan, CutsPiecesLongerThanAWindow) {
  for (const std::string& part : kParts) {
    for (const size_t times : {2047, 2048, 2049, 5000}) {
      std::string text;
      for (size_t i = 0; i < times; ++i) text += part;
      expect_equal(text);
      expect_equal("a" + text + " b");
      if (HasFatalFailure()) return;
    }
  }
}

TEST(WordCut, CutsBeforeASpaceBetweenPlainCharactersOfTheText) {
  const std::string_view text = "ab c  d\ne f ";
  const char* const begin = text.data();
  std::vector<size_t> cuts;
  for (size_t at = 1; at < text.size(); ++at) {
    if (WordCut::may_cut(begin, begin + at, begin + text.size())) cuts.push_back(at);
  }
  EXPECT_EQ(cuts, (std::vector<size_t>{2, 9}));
  EXPECT_FALSE(WordCut::may_cut(begin, begin + 2, begin + 3));  // nothing is known of what follows
}

}  // namespace
}  // namespace msltx::text
