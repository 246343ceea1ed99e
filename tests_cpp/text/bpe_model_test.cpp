#include "msltx/text/bpe_model.h"

#include <gtest/gtest.h>

#include <chrono>

#include "msltx/base/error.h"
#include "text/reference.h"

namespace msltx::text {
namespace {

std::vector<std::string> byte_tokens() {
  std::vector<std::string> tokens;
  for (int b = 0; b < 256; ++b) {
    const char c = static_cast<char>(b);
    tokens.push_back(to_byte_alphabet(std::string_view(&c, 1)));
  }
  return tokens;
}

// A vocabulary of random merges over the letters a to d, some of which make the same token.
struct RandomModel {
  std::vector<std::string> tokens = byte_tokens();
  std::vector<std::pair<int32_t, int32_t>> merges;
  std::vector<std::pair<std::string, std::string>> written;

  RandomModel(uint32_t seed, int count) {
    reference::RandomText random(seed);
    std::vector<int32_t> known{'a', 'b', 'c', 'd'};
    while (static_cast<int>(merges.size()) < count) {
      const int32_t left = known[random.below(static_cast<uint32_t>(known.size()))];
      const int32_t right = known[random.below(static_cast<uint32_t>(known.size()))];
      if (std::find(merges.begin(), merges.end(), std::pair(left, right)) != merges.end()) continue;
      const std::string made =
          tokens[static_cast<size_t>(left)] + tokens[static_cast<size_t>(right)];
      if (std::find(tokens.begin(), tokens.end(), made) == tokens.end()) {
        known.push_back(static_cast<int32_t>(tokens.size()));
        tokens.push_back(made);
      }
      merges.emplace_back(left, right);
      written.emplace_back(tokens[static_cast<size_t>(left)], tokens[static_cast<size_t>(right)]);
    }
  }
};

// Short pieces take the scan, long ones the heap: both are the definition.
TEST(BpeModel, EqualsTheDefinitionOnRandomPieces) {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    const RandomModel random(seed, 40);
    const BpeModel model(random.tokens, random.merges);
    reference::RandomText letters(seed + 1000);
    BpeModel::Scratch scratch;
    for (const uint32_t length : {1u, 2u, 3u, 7u, 20u, 47u, 48u, 49u, 50u, 120u, 300u}) {
      std::string piece;
      for (uint32_t i = 0; i < length; ++i) piece += static_cast<char>('a' + letters.below(4));
      std::vector<int32_t> ids;
      model.encode_piece(piece, scratch, ids);
      std::vector<std::string> tokens;
      for (const int32_t id : ids) tokens.push_back(random.tokens[static_cast<size_t>(id)]);
      ASSERT_EQ(tokens, reference::merge(piece, random.written)) << seed << " " << piece;
    }
  }
}

TEST(BpeModel, AMergeGivenTwiceCountsWhereItStandsLast) {
  std::vector<std::string> tokens = byte_tokens();
  tokens.insert(tokens.end(), {"ab", "bc"});
  const std::vector<std::pair<int32_t, int32_t>> merges{{'a', 'b'}, {'b', 'c'}, {'a', 'b'}};
  const BpeModel model(tokens, merges);
  BpeModel::Scratch scratch;
  std::vector<int32_t> ids;
  model.encode_piece("abc", scratch, ids);
  EXPECT_EQ(ids, (std::vector<int32_t>{'a', 257}));
}

// A quadratic encoder would take minutes for a megabyte without a split.
TEST(BpeModel, LongPiecesTakeNoQuadraticTime) {
  const RandomModel random(1, 60);
  const BpeModel model(random.tokens, random.merges);
  BpeModel::Scratch scratch;
  for (const bool one_letter : {true, false}) {
    reference::RandomText letters(5);
    std::string piece(1 << 20, 'a');
    if (!one_letter) {
      for (char& c : piece) c = static_cast<char>('a' + letters.below(4));
    }
    std::vector<int32_t> ids;
    const auto begin = std::chrono::steady_clock::now();
    model.encode_piece(piece, scratch, ids);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
    size_t bytes = 0;
    for (const int32_t id : ids) bytes += random.tokens[static_cast<size_t>(id)].size();
    EXPECT_EQ(bytes, piece.size());
  }
}

TEST(BpeModel, RefusesWhatDoesNotFit) {
  using Merges = std::vector<std::pair<int32_t, int32_t>>;
  std::vector<std::string> tokens = byte_tokens();
  EXPECT_THROW(BpeModel(std::span(tokens).first(255), Merges{}), ValueError);
  EXPECT_THROW(BpeModel(tokens, Merges{{'a', 'b'}}), ValueError);  // no token "ab"
  EXPECT_THROW(BpeModel(tokens, Merges{{'a', 256}}), ValueError);
  EXPECT_THROW(BpeModel(tokens, Merges{{-1, 'a'}}), ValueError);
}

}  // namespace
}  // namespace msltx::text
