#include "msltx/text/bpe_trainer.h"

#include <gtest/gtest.h>

#include <map>

#include "msltx/base/error.h"
#include "msltx/base/executor.h"
#include "msltx/base/file.h"
#include "msltx/text/word_counter.h"
#include "text/reference.h"

namespace msltx::text {
namespace {

PieceCounts counts_of(const std::map<std::string, int64_t>& words) {
  PieceCounts counts;
  for (const auto& [word, count] : words) counts.add(word, 0, count);
  return counts;
}

TEST(BpeTrainer, TheExampleOfTheHuggingFaceTrainer) {
  const std::map<std::string, int64_t> words{{"roses", 1}, {"are", 2},  {"red", 1},  {"voilets", 1},
                                             {"blue", 1},  {"BERT", 1}, {"is", 2},   {"big", 1},
                                             {"and", 1},   {"so", 1},   {"GPT-2", 1}};
  const BpeVocabulary made = train_bpe(counts_of(words), {.vocab_size = 30000, .min_frequency = 2});
  ASSERT_EQ(made.tokens.size(), 259u);
  EXPECT_EQ(made.tokens[0], "!");  // the alphabet by code point: printable ones first
  EXPECT_EQ(made.tokens[188], "\u0100");
  EXPECT_EQ(made.tokens[256], "re");
  EXPECT_EQ(made.tokens[257], "are");
  EXPECT_EQ(made.tokens[258], "is");
}

TEST(BpeTrainer, EqualsCountingAnewForEveryMerge) {
  // Text of our own: this repository's licence and these tests.
  std::map<std::string, int64_t> words;
  for (const char* name : {"/LICENSE", "/tests_cpp/text/split_test.cpp"}) {
    for (const std::string& piece :
         reference::split_gpt2(read_file(MSLTX_SOURCE_DIR + std::string(name)))) {
      ++words[piece];
    }
  }
  const BpeTrainerOptions options{
      .vocab_size = 700, .min_frequency = 2, .special_tokens = {"[PAD]", "[UNK]"}};
  const BpeVocabulary made = train_bpe(counts_of(words), options);
  EXPECT_EQ(made.tokens[0], "[PAD]");
  std::vector<std::string> first(made.tokens.begin(), made.tokens.begin() + 258);
  EXPECT_EQ(made.merges, reference::train(words, first, 700, 2));
  EXPECT_GT(made.merges.size(), 200u);
}

TEST(BpeTrainer, TiesGoToTheLowestIds) {
  const BpeVocabulary made =
      train_bpe(counts_of({{"zy", 3}, {"ab", 3}, {"ac", 3}}), {.vocab_size = 259});
  EXPECT_EQ(std::vector(made.tokens.begin() + 256, made.tokens.end()),
            (std::vector<std::string>{"ab", "ac", "zy"}));
}

TEST(BpeTrainer, StopsAtMinFrequencyAndAtTheSize) {
  const PieceCounts words = counts_of({{"aab", 5}, {"xyz", 1}});
  EXPECT_EQ(train_bpe(words, {.vocab_size = 1000, .min_frequency = 2}).tokens.size(), 258u);
  EXPECT_EQ(train_bpe(words, {.vocab_size = 257, .min_frequency = 2}).tokens.size(), 257u);
  EXPECT_EQ(train_bpe(words, {.vocab_size = 1000, .min_frequency = 1}).tokens.size(), 260u);
  EXPECT_EQ(train_bpe(words, {.vocab_size = 256}).merges.size(), 0u);
}

TEST(BpeTrainer, ASpecialTokenThatIsAlsoMadeKeepsItsId) {
  const BpeVocabulary made =
      train_bpe(counts_of({{"abab", 9}}), {.vocab_size = 300, .special_tokens = {"ab", "a"}});
  EXPECT_EQ(made.tokens[0], "ab");
  EXPECT_EQ(made.tokens[1], "a");
  ASSERT_EQ(made.merges.size(), 2u);
  EXPECT_EQ(made.merges[1], std::pair(0, 0));
  EXPECT_EQ(made.tokens.size(), 2u + 255u + 1u);  // "a" and "ab" are not there twice
}

TEST(BpeTrainer, RefusesSizesWithoutRoom) {
  for (const int64_t size : {int64_t{-1}, int64_t{0}, int64_t{256}, int64_t{1} << 31}) {
    EXPECT_THROW(train_bpe(counts_of({{"ab", 2}}), {.vocab_size = size, .special_tokens = {"x"}}),
                 ValueError);
  }
}

TEST(PieceCounts, CountsShortAndLongPieces) {
  PieceCounts a, b;
  std::map<std::string, int64_t> expected;
  reference::RandomText random(3);
  for (int i = 0; i < 60000; ++i) {
    std::string piece(1 + random.below(40), 'x');
    for (size_t k = 0; k < piece.size() && k < 3; ++k) {
      piece[k] = static_cast<char>(random.below(12));
    }
    (i % 2 ? a : b).add(piece, piece.size() + (i % 3 ? 0 : 1));
    ++expected[piece];
  }
  a.absorb(b);
  EXPECT_EQ(b.size(), 0u);
  std::map<std::string, int64_t> counted;
  a.for_each([&](std::string_view piece, int64_t count) { counted[std::string(piece)] += count; });
  EXPECT_EQ(a.size(), expected.size());
  EXPECT_EQ(counted, expected);
}

// What datasets are split by: these numbers may never change.
TEST(PieceCounts, HashesAreForGood) {
  EXPECT_EQ(hash_bytes(""), 8731440525912874495u);
  EXPECT_EQ(hash_bytes("a"), 11053384585940960236u);
  EXPECT_EQ(hash_bytes("the quick brown fox"), 491391474045011427u);
}

TEST(WordCounter, CountsTheSameAtAnyNumberOfThreads) {
  std::string text;
  for (int i = 0; i < 30000; ++i) text += concat("word", i % 977, i % 5 ? " " : "\n");
  const std::vector<std::string_view> texts{text, "word1 word1", ""};
  std::map<std::string, int64_t> first;
  for (const int threads : {1, 2, 3, 8}) {
    Executor executor(threads);
    WordCounter counter({}, executor);
    counter.add_texts(texts);
    std::map<std::string, int64_t> counted;
    counter.take().for_each([&](std::string_view w, int64_t n) { counted[std::string(w)] = n; });
    if (threads == 1) first = counted;
    EXPECT_EQ(counted, first);
    EXPECT_EQ(counted[" word"], 23999 + 1);
  }
}

}  // namespace
}  // namespace msltx::text
