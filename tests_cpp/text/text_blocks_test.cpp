#include "msltx/text/text_blocks.h"

#include <gtest/gtest.h>

#include <vector>

#include "text/temporary_folder.h"

namespace msltx::text {
namespace {

class TextBlocksTest : public TemporaryFolderTest {
 protected:
  std::vector<std::string> read(const std::string& content, int64_t block_bytes,
                                InvalidUtf8 invalid = InvalidUtf8::refuse) {
    TextBlocks source(file("x.txt", content), invalid, block_bytes);
    std::vector<std::string> blocks;
    for (std::string block; source.next(block);) blocks.push_back(block);
    EXPECT_EQ(source.bytes_read(), static_cast<int64_t>(content.size()));
    EXPECT_EQ(source.bytes_total(), static_cast<int64_t>(content.size()));
    return blocks;
  }
};

using Blocks = std::vector<std::string>;

TEST_F(TextBlocksTest, BlocksEndAfterLines) {
  EXPECT_EQ(read("", 16), Blocks{});
  EXPECT_EQ(read("abc", 16), Blocks{"abc"});
  EXPECT_EQ(read("one\ntwo\nthree\nfour\n", 16), (Blocks{"one\ntwo\nthree\n", "four\n"}));
}

TEST_F(TextBlocksTest, LongLinesAreCutBeforeASpaceElseBetweenCharacters) {
  EXPECT_EQ(read("abcdef ghijkl mnopqr", 16), (Blocks{"abcdef ghijkl", " mnopqr"}));
  EXPECT_EQ(read("ababababababababababab", 16), (Blocks{"abababababababab", "ababab"}));
  const Blocks wide = read("中中中中中中中中", 16);
  EXPECT_EQ(wide, (Blocks{"中中中中中", "中中中"}));
}

TEST_F(TextBlocksTest, EverySizeGivesTheWholeText) {
  std::string text;
  for (int i = 0; i < 200; ++i) text += concat(i % 7 ? "né " : "x\n", i * 31, i % 11 ? "" : "\n\n");
  for (int64_t size = 8; size < 80; ++size) {
    std::string joined;
    for (const std::string& block : read(text, size)) {
      EXPECT_LE(block.size(), static_cast<size_t>(size));
      EXPECT_EQ(find_invalid_utf8(block), kValid);
      joined += block;
    }
    ASSERT_EQ(joined, text) << size;
  }
}

TEST_F(TextBlocksTest, InvalidUtf8IsRefusedWithFileAndOffset) {
  const std::string text = std::string("0123456789\n0123456789\n01234\xff") + "56\n";
  const auto message = message_of<FileError>([&] { read(text, 16); });
  EXPECT_NE(message.find("x.txt has invalid UTF-8 at byte 27 (0xff)"), std::string::npos)
      << message;
  const Blocks replaced = read(text, 16, InvalidUtf8::replace);
  EXPECT_EQ(replaced.back(), "01234\ufffd56\n");
}

TEST_F(TextBlocksTest, ByteOrderMarkIsLeftOut) {
  EXPECT_EQ(read("\xef\xbb\xbfhello\n", 16), Blocks{"hello\n"});
  EXPECT_EQ(read("a\xef\xbb\xbf", 16), Blocks{"a\xef\xbb\xbf"});
}

TEST_F(TextBlocksTest, UnreadableFiles) {
  const auto missing =
      message_of<FileError>([&] { TextBlocks(folder_ / "no.txt", InvalidUtf8::refuse); });
  EXPECT_NE(missing.find("no.txt: No such file"), std::string::npos) << missing;
  EXPECT_THROW(TextBlocks(folder_, InvalidUtf8::refuse), FileError);
}

}  // namespace
}  // namespace msltx::text
