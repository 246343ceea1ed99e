// Trainers over characters: BPE with affixes, limits and SentencePiece's rules, and Unigram with
// its seeds. Recorded answers are the Hugging Face library's.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "msltx/base/error.h"
#include "msltx/base/executor.h"
#include "msltx/text/alphabet.h"
#include "msltx/text/bpe_trainer.h"
#include "msltx/text/unigram.h"
#include "msltx/text/unigram_seed.h"
#include "msltx/text/unigram_trainer.h"

namespace msltx::text {
namespace {

using Strings = std::vector<std::string>;
using Counts = std::map<std::string, int64_t>;

PieceCounts counted(const Counts& words) {
  PieceCounts counts;
  for (const auto& [word, count] : words) counts.add(word, 0, count);
  return counts;
}

const Counts kWords{{"low", 5}, {"lower", 2}, {"newest", 6}, {"widest", 3}, {"né", 1}};

Strings merged(const BpeVocabulary& vocabulary) {
  Strings out;
  for (const auto& [left, right] : vocabulary.merges) {
    out.push_back(vocabulary.tokens[static_cast<size_t>(left)] + " " +
                  vocabulary.tokens[static_cast<size_t>(right)]);
  }
  return out;
}

TEST(AlphabetTest, IsInOrderOfCounts) {
  const auto characters = count_characters(counted({{"ba", 2}, {"é", 2}, {"漢a", 1}}));
  std::vector<std::pair<char32_t, int64_t>> list;
  for (const auto& [code, count] : characters) list.emplace_back(code, count);
  EXPECT_EQ(list, (std::vector<std::pair<char32_t, int64_t>>{
                      {U'a', 3}, {U'b', 2}, {U'é', 2}, {U'漢', 1}}));
  EXPECT_EQ(limit_alphabet(characters, 0, 1).size(), 4u);
  EXPECT_EQ(limit_alphabet(characters, 3, 1).size(), 3u);
  EXPECT_EQ(limit_alphabet(characters, 9, 1).size(), 4u);
  EXPECT_EQ(limit_alphabet(characters, 0, 0.625).size(), 2u);  // 5 of 8 characters
  EXPECT_EQ(limit_alphabet(characters, 0, 0.63).size(), 3u);
  EXPECT_TRUE(count_characters(PieceCounts()).empty());
}

TEST(CharacterBpeTrainerTest, LearnsOverCharacters) {
  const auto vocabulary = train_bpe(
      counted(kWords), {.vocab_size = 20, .special_tokens = {"[UNK]"}, .characters = true});
  EXPECT_EQ(vocabulary.tokens,
            (Strings{"[UNK]", "d", "e",  "i",   "l",  "n",   "o",  "r",   "s",      "t",
                     "w",     "é", "es", "est", "lo", "low", "ew", "new", "newest", "dest"}));
  EXPECT_EQ(merged(vocabulary),
            (Strings{"e s", "es t", "l o", "lo w", "e w", "n ew", "new est", "d est"}));
}

TEST(CharacterBpeTrainerTest, MarksEndsAndContinuations) {
  const auto ends =
      train_bpe(counted(kWords), {.vocab_size = 22, .characters = true, .word_suffix = "</w>"});
  EXPECT_EQ(Strings(ends.tokens.begin() + 11, ends.tokens.begin() + 15),
            (Strings{"r</w>", "t</w>", "w</w>", "é</w>"}));
  EXPECT_EQ(merged(ends)[1], "es t</w>");
  const auto continued =
      train_bpe(counted(kWords), {.vocab_size = 32, .characters = true, .continuing_prefix = "##"});
  EXPECT_EQ(continued.tokens[11], "##d");
  EXPECT_EQ(merged(continued)[0], "##e ##s");
  EXPECT_EQ(merged(continued)[1], "##es ##t");
  EXPECT_NE(std::find(continued.tokens.begin(), continued.tokens.end(), "low"),
            continued.tokens.end());
}

TEST(CharacterBpeTrainerTest, KeepsLimits) {
  const auto limited = train_bpe(
      counted(kWords),
      {.vocab_size = 100, .max_token_length = 4, .characters = true, .alphabet_limit = 7});
  for (const std::string& token : limited.tokens) EXPECT_LT(token.size(), 4u) << token;
  // e 17, w 16, s 9, t 9, l 7, n 7, o 7
  EXPECT_EQ(Strings(limited.tokens.begin(), limited.tokens.begin() + 7),
            (Strings{"e", "l", "n", "o", "s", "t", "w"}));
  EXPECT_EQ(std::count(limited.tokens.begin(), limited.tokens.end(), "d"), 0);
}

TEST(CharacterBpeTrainerTest, KeepsKindsApart) {
  const Counts words{{"▁a,b", 10}, {"▁1,2", 10}, {"▁▁x", 10}, {"▁(a)", 10}};
  const auto vocabulary =
      train_bpe(counted(words), {.vocab_size = 100, .characters = true, .split_kinds = true});
  const std::set<std::string> tokens(vocabulary.tokens.begin(), vocabulary.tokens.end());
  EXPECT_TRUE(tokens.count("▁a"));
  EXPECT_TRUE(tokens.count("▁1,2"));
  EXPECT_TRUE(tokens.count("▁x"));
  EXPECT_FALSE(tokens.count("▁▁"));
  EXPECT_FALSE(tokens.count("(a"));
  EXPECT_FALSE(tokens.count(",b"));
}

TEST(CharacterBpeTrainerTest, RefusesWhatHasNoRoom) {
  EXPECT_THROW(train_bpe(counted(kWords), {.vocab_size = 10, .characters = true}), ValueError);
  EXPECT_THROW(train_bpe(counted(kWords), {.characters = true, .alphabet_limit = -1}), ValueError);
  EXPECT_THROW(train_bpe(counted(kWords), {.max_token_length = -1}), ValueError);
  EXPECT_THROW(train_bpe(counted(kWords), {.characters = true, .character_coverage = 0}),
               ValueError);
}

Counts random_words(uint32_t seed, size_t number) {
  std::mt19937 generator(seed);
  const Strings letters{"a", "b", "c", "é", "漢", ","};
  Counts words;
  for (size_t i = 0; i < number; ++i) {
    std::string word = "▁";
    for (size_t n = 1 + generator() % 7; n > 0; --n) word += letters[generator() % letters.size()];
    words[word] += 1 + generator() % 3;
  }
  return words;
}

TEST(UnigramSeedTest, FindsEveryRepeatedPieceOnce) {
  Executor executor(2);
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const Counts words = random_words(seed, 60);
    const PieceCounts counts = counted(words);
    const LetterCorpus corpus(counts, count_characters(counts));
    constexpr uint32_t kMax = 5;
    const UnigramSeeds seeds = find_seeds(corpus, 1000000, kMax, 2, executor);
    // By definition: how often each substring occurs, and what follows it where.
    std::map<std::u32string, int64_t> occurs;
    std::map<std::u32string, std::set<std::pair<char32_t, size_t>>> followed;
    size_t number = 0;
    for (const auto& word : corpus.words) {
      std::u32string text;
      for (uint32_t i = 0; i < word.length; ++i) {
        text += corpus.alphabet[corpus.letters[word.begin + i] - 1].code;
      }
      for (size_t at = 0; at < text.size(); ++at) {
        for (size_t n = 2; n <= kMax && at + n <= text.size(); ++n) {
          occurs[text.substr(at, n)] += word.count;
          const bool ends = at + n == text.size() || n == kMax;
          followed[text.substr(at, n)].insert({ends ? 0 : text[at + n], ends ? ++number : 0});
        }
      }
    }
    std::map<std::u32string, int64_t> expected, found;
    for (const auto& [piece, count] : occurs) {
      const bool is_longest = followed[piece].size() > 1 || followed[piece].begin()->first == 0;
      const bool comma = piece.find(U',') != std::u32string::npos;
      const bool letter = piece.find_first_of(U"abcé漢") != std::u32string::npos;
      if (count >= 2 && is_longest && !(comma && letter)) expected[piece] = count;
    }
    for (const auto& piece : seeds.pieces) {
      for (uint32_t i = 0; i < piece.places; ++i) {
        std::u32string text;
        for (uint32_t k = 0; k < piece.length; ++k) {
          text += corpus.alphabet[corpus.letters[seeds.places[piece.place + i] + k] - 1].code;
        }
        EXPECT_EQ(found.emplace(text, piece.count).second, i == 0);
      }
    }
    EXPECT_EQ(found, expected);
    EXPECT_LE(find_seeds(corpus, 3, kMax, 2, executor).pieces.size(), 3u);
  }
}

TEST(UnigramTrainerTest, IsTheSameAtAnyNumberOfThreads) {
  const Counts words = random_words(7, 3000);
  std::optional<UnigramVocabulary> first;
  for (const int threads : {1, 2, 3, 8}) {
    Executor executor(threads);
    PieceCounts counts;  // and in any order of words
    if (threads % 2) {
      for (auto word = words.rbegin(); word != words.rend(); ++word) {
        counts.add(word->first, 0, word->second);
      }
    } else {
      counts = counted(words);
    }
    const auto vocabulary =
        train_unigram(counts, {.vocab_size = 60, .special_tokens = {"<unk>"}}, executor);
    if (!first) first = vocabulary;
    EXPECT_EQ(vocabulary.tokens, first->tokens);
    EXPECT_EQ(vocabulary.scores, first->scores);
  }
  EXPECT_EQ(first->tokens.size(), 60u);
  EXPECT_EQ(first->tokens[0], "<unk>");
  EXPECT_EQ(first->scores[0], 0);
  EXPECT_TRUE(std::is_sorted(first->scores.rbegin(), first->scores.rend() - 1));
  for (const char* letter : {"▁", "a", "b", "c", "é", "漢", ","}) {
    EXPECT_EQ(std::count(first->tokens.begin(), first->tokens.end(), letter), 1) << letter;
  }
}

TEST(UnigramTrainerTest, FindsTheWordsThatTextIsMadeOf) {
  std::mt19937 generator(3);
  const Strings parts{"token", "izer", "learn", "ing", "speak"};
  Counts words;
  for (int i = 0; i < 400; ++i) {
    std::string word = "▁";
    for (size_t n = 1 + generator() % 4; n > 0; --n) word += parts[generator() % parts.size()];
    words[word] += 1;
  }
  Executor executor(2);
  auto vocabulary =
      train_unigram(counted(words), {.vocab_size = 25, .special_tokens = {"<unk>"}}, executor);
  for (const std::string& part : parts) {
    EXPECT_EQ(std::count(vocabulary.tokens.begin(), vocabulary.tokens.end(), part), 1) << part;
  }
  UnigramSpec spec{.tokens = vocabulary.tokens, .scores = vocabulary.scores, .unk_id = 0};
  const Unigram model(std::move(spec));
  ModelScratch scratch;
  std::vector<PieceToken> out;
  model.tokenize("▁speaklearningtokenizer", scratch, out);
  EXPECT_LE(out.size(), 6u);
}

TEST(UnigramTrainerTest, TakesWhatThereIs) {
  Executor executor(2);
  const auto train = [&](const Counts& words, const UnigramTrainerOptions& options) {
    return train_unigram(counted(words), options, executor).tokens;
  };
  EXPECT_EQ(train({{"ab", 1}}, {.vocab_size = 100}), (Strings{"a", "b"}));
  EXPECT_EQ(train({}, {.vocab_size = 100, .special_tokens = {"<unk>"}}), (Strings{"<unk>"}));
  // Longer than a lattice takes at once, and with a character that is left out.
  const Strings tokens =
      train({{std::string(1000, 'a') + "b", 3}, {"é", 1}}, {.vocab_size = 10, .alphabet_limit = 2});
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), "é"), 0);
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), std::string(16, 'a')), 1);
  for (const std::string& token :
       train({{"abcabcabc", 9}}, {.vocab_size = 99, .max_token_length = 3})) {
    EXPECT_LE(token.size(), 3u);
  }
}

TEST(UnigramTrainerTest, RefusesWhatHasNoRoom) {
  Executor executor(1);
  const PieceCounts counts = counted({{"abc", 3}});
  EXPECT_THROW(train_unigram(counts, {.vocab_size = 2}, executor), ValueError);
  EXPECT_THROW(train_unigram(counts, {.vocab_size = 0}, executor), ValueError);
  EXPECT_THROW(train_unigram(counts, {.max_token_length = -1}, executor), ValueError);
  EXPECT_THROW(train_unigram(counts, {.character_coverage = 2}, executor), ValueError);
}

}  // namespace
}  // namespace msltx::text
