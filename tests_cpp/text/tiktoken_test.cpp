#include "msltx/text/tiktoken.h"

#include <gtest/gtest.h>

#include "msltx/base/error.h"
#include "msltx/text/normalizer.h"

namespace msltx::text {
namespace {

using Ids = std::vector<int32_t>;

// Every byte, then these.
std::string file_of(const std::vector<std::string>& tokens) {
  std::string out;
  int rank = 0;
  for (int byte = 0; byte < 256; ++byte) {
    out += concat(to_base64(std::string(1, static_cast<char>(byte))), " ", rank++, "\n");
  }
  for (const std::string& token : tokens) out += concat(to_base64(token), " ", rank++, "\n");
  return out;
}

Tokenizer tokenizer_of(const std::string& file, const NamedIds& special = {}) {
  return Tokenizer(parse_tiktoken(file, "t.tiktoken", SplitPattern::cl100k, special));
}

TEST(Tiktoken, MergesByRankWithoutAListOfMerges) {
  const Tokenizer tokenizer = tokenizer_of(file_of({"ab", "bc", "abc", "xyz"}), {{"<|end|>", 300}});
  EXPECT_EQ(tokenizer.encode("abcb"), (Ids{258, 'b'}));
  // A piece that is a token is that token, though no two tokens make it.
  EXPECT_EQ(tokenizer.encode("xyz xyz"), (Ids{259, ' ', 'x', 'y', 'z'}));
  EXPECT_EQ(tokenizer.encode("ab<|end|>"), (Ids{256, 300}));
  EXPECT_EQ(tokenizer.vocab_size(), 301);
  EXPECT_EQ(tokenizer.decode(Ids{258, 270, 300}), "abc<|end|>");
}

// Of pairs that make the same token the leftmost is merged first.
TEST(Tiktoken, PairsOfOneRankAreMergedFromTheLeft) {
  const Tokenizer tokenizer = tokenizer_of(file_of({"aa", "aaa"}));
  EXPECT_EQ(tokenizer.encode("aaaa"), (Ids{256, 256}));
  EXPECT_EQ(tokenizer.encode("aaaaa"), (Ids{256, 257}));
}

TEST(Tiktoken, DamagedFilesAreRefused) {
  const std::string whole = file_of({"ab"});
  const std::vector<std::string> wrong{
      "",           "YQ==",    "YQ== x",           "YQ== -1",          "YQ== 99999999999",
      "Y?== 1",     " 1",      "YQ== 1\nYQ== 2\n", "YQ== 1\nYg== 1\n", "YQ== 60000000\n",
      "YQ== 1 2\n", "YQ== 0\n"};
  for (const std::string& file : wrong) {
    EXPECT_ANY_THROW(tokenizer_of(file)) << file;
  }
  EXPECT_THROW(tokenizer_of(whole, {{"<x>", 'a'}}), ValueError);
  EXPECT_THROW(tokenizer_of(whole, {{"<x>", -1}}), ValueError);
}

TEST(Base64, ComesBack) {
  std::string bytes;
  for (int n = 0; n < 70; ++n) {
    EXPECT_EQ(from_base64(to_base64(bytes), "x"), bytes);
    bytes.push_back(static_cast<char>(n * 37));
  }
  EXPECT_THROW(from_base64("ab!d", "x"), ValueError);
}

}  // namespace
}  // namespace msltx::text
