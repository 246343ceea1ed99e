// The models WordPiece, Unigram, character BPE and word level: worked answers of the Hugging Face
// library, and random vocabularies against definitions that try everything.
#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <random>

#include "msltx/base/error.h"
#include "msltx/text/byte_trie.h"
#include "msltx/text/char_bpe.h"
#include "msltx/text/unigram.h"
#include "msltx/text/word_level.h"
#include "msltx/text/wordpiece.h"

namespace msltx::text {
namespace {

using Strings = std::vector<std::string>;

std::vector<PieceToken> tokenize(const Model& model, std::string_view piece) {
  ModelScratch scratch;
  std::vector<PieceToken> out{{-7, 1, 2}};  // what is there stays
  model.tokenize(piece, scratch, out);
  EXPECT_EQ(out.front(), (PieceToken{-7, 1, 2}));
  return {out.begin() + 1, out.end()};
}

// Tokens as they are written, with a bar between them.
std::string written(const Model& model, std::string_view piece) {
  std::string all;
  for (const PieceToken& token : tokenize(model, piece)) {
    if (!all.empty()) all += '|';
    all += model.vocabulary().token(token.id);
  }
  return all;
}

class Random {
 public:
  explicit Random(uint32_t seed) : generator_(seed) {}
  size_t below(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(generator_); }
  std::string text(const Strings& letters, size_t longest) {
    std::string out;
    for (size_t n = 1 + below(longest); n > 0; --n) out += letters[below(letters.size())];
    return out;
  }

 private:
  std::mt19937 generator_;
};

const Strings kLetters{"a", "b", "#", "é", "漢", "👍"};

TEST(ByteTrieTest, FindsWhatTheTextBeginsWith) {
  Random random(1);
  for (int round = 0; round < 50; ++round) {
    std::map<std::string, int32_t> entries;
    for (size_t n = random.below(60); n > 0; --n) {
      entries[random.text(kLetters, 5)] = static_cast<int32_t>(random.below(1000));
    }
    std::vector<std::pair<std::string_view, int32_t>> list(entries.begin(), entries.end());
    list.emplace_back("", 5);
    const ByteTrie trie(std::move(list));
    for (int i = 0; i < 100; ++i) {
      const std::string text = random.text(kLetters, 8);
      std::map<size_t, int32_t> expected, found;
      for (const auto& [key, value] : entries) {
        if (text.starts_with(key)) expected[key.size()] = value;
      }
      trie.for_each_prefix(text, [&](int32_t value, size_t length) { found[length] = value; });
      EXPECT_EQ(found, expected) << text;
    }
  }
}

TEST(ByteTrieTest, TakesLongStringsAndEveryByte) {
  const std::string long_one(100000, 'x');
  std::string all_bytes;
  for (int b = 0; b < 256; ++b) all_bytes += static_cast<char>(b);
  std::vector<std::pair<std::string_view, int32_t>> entries{{long_one, 1}};
  for (size_t b = 0; b < 256; ++b) {
    entries.emplace_back(std::string_view(all_bytes).substr(b, 1), static_cast<int32_t>(b) + 10);
  }
  const ByteTrie trie(std::move(entries));
  std::vector<std::pair<int32_t, size_t>> found;
  const auto note = [&](int32_t value, size_t length) { found.emplace_back(value, length); };
  trie.for_each_prefix(long_one, note);
  EXPECT_EQ(found, (std::vector<std::pair<int32_t, size_t>>{{'x' + 10, 1}, {1, 100000}}));
  for (size_t b = 0; b < 256; ++b) {
    found.clear();
    trie.for_each_prefix(all_bytes.substr(b, 1), note);
    EXPECT_EQ(found.size(), 1u);
    EXPECT_EQ(found.front().first, static_cast<int32_t>(b) + 10);
  }
  ByteTrie().for_each_prefix("x", [](int32_t, size_t) { FAIL(); });
}

TEST(VocabularyTest, KeepsHolesAndTheLastOfEqualTokens) {
  const Vocabulary vocabulary(std::vector<std::pair<std::string, int32_t>>{{"a", 0}, {"", 3}});
  EXPECT_EQ(vocabulary.size(), 4);
  EXPECT_TRUE(vocabulary.has(3));
  EXPECT_FALSE(vocabulary.has(1));
  EXPECT_FALSE(vocabulary.has(4));
  EXPECT_EQ(vocabulary.find(""), 3);
  EXPECT_EQ(vocabulary.find("b"), std::nullopt);
  EXPECT_EQ(Vocabulary(Strings{"a", "b", "a"}).find("a"), 2);
  using Entries = std::vector<std::pair<std::string, int32_t>>;
  EXPECT_THROW(Vocabulary(Entries{{"a", 1}, {"b", 1}}), ValueError);
  EXPECT_THROW(Vocabulary(Entries{{"a", -1}}), ValueError);
  EXPECT_THROW(Vocabulary(Entries{{"a", 2000000000}}), ValueError);
}

TEST(VocabularyTest, StaysWholeWhenMoved) {
  Vocabulary first(Strings{"a", "token longer than a small string"});
  const Vocabulary second = std::move(first);
  EXPECT_EQ(second.find("a"), 0);
  EXPECT_EQ(second.find("token longer than a small string"), 1);
}

TEST(WordLevelTest, TakesPiecesWhole) {
  const WordLevel model(Vocabulary(Strings{"[UNK]", "the"}), "[UNK]");
  EXPECT_EQ(tokenize(model, "the"), (std::vector<PieceToken>{{1, 0, 3}}));
  EXPECT_EQ(tokenize(model, "th"), (std::vector<PieceToken>{{0, 0, 2}}));
  EXPECT_TRUE(tokenize(model, "").empty());
  const WordLevel strict(Vocabulary(Strings{"the"}), "[UNK]");
  EXPECT_EQ(tokenize(strict, "the").size(), 1u);
  EXPECT_THROW(tokenize(strict, "cat"), ValueError);
}

TEST(WordPieceTest, TakesTheLongestToken) {
  const WordPiece model(
      Vocabulary(Strings{"[UNK]", "un", "##aff", "##able", "una", "##ffa", "##ble", "##é"}), {});
  EXPECT_EQ(written(model, "unaffable"), "una|##ffa|##ble");
  EXPECT_EQ(tokenize(model, "uné"), (std::vector<PieceToken>{{1, 0, 2}, {7, 2, 4}}));
  // Nothing goes back: what cannot be ended is unknown as a whole.
  EXPECT_EQ(written(model, "unaffablex"), "[UNK]");
  EXPECT_EQ(tokenize(model, "unaff").size(), 1u);
  // A word may begin like a token that continues one.
  EXPECT_EQ(written(model, "##aff"), "##aff");
  EXPECT_TRUE(tokenize(model, "").empty());
}

TEST(WordPieceTest, LimitsTheCharactersOfAWord) {
  const WordPiece model(Vocabulary(Strings{"[UNK]", "é", "##é"}), {.max_input_chars = 3});
  EXPECT_EQ(written(model, "ééé"), "é|##é|##é");
  EXPECT_EQ(tokenize(model, "éééé"), (std::vector<PieceToken>{{0, 0, 8}}));
  const WordPiece none(Vocabulary(Strings{"é", "##é"}), {.max_input_chars = 3});
  EXPECT_EQ(written(none, "éé"), "é|##é");
  EXPECT_THROW(tokenize(none, "éééé"), ValueError);
  EXPECT_THROW(tokenize(none, "éx"), ValueError);
}

TEST(WordPieceTest, EqualsItsDefinition) {
  Random random(2);
  for (int round = 0; round < 40; ++round) {
    Strings tokens{"[UNK]"};
    for (size_t n = 1 + random.below(30); n > 0; --n) {
      std::string token = random.text(kLetters, 3);
      if (random.below(2)) token.insert(0, "##");
      if (std::find(tokens.begin(), tokens.end(), token) == tokens.end()) tokens.push_back(token);
    }
    const WordPiece model{Vocabulary(tokens), {}};
    for (int i = 0; i < 200; ++i) {
      const std::string word = random.text(kLetters, 8);
      std::vector<PieceToken> expected;
      for (size_t at = 0; at < word.size();) {
        size_t end = word.size();
        std::optional<int32_t> id;
        for (; end > at && !id; end -= id ? 0 : 1) {
          id = model.vocabulary().find((at ? "##" : "") + word.substr(at, end - at));
        }
        if (!id) {
          expected = {{0, 0, static_cast<uint32_t>(word.size())}};
          break;
        }
        expected.push_back({*id, static_cast<uint32_t>(at), static_cast<uint32_t>(end)});
        at = end;
      }
      EXPECT_EQ(tokenize(model, word), expected) << word;
    }
  }
}

UnigramSpec unigram_spec(std::vector<std::pair<std::string, double>> pieces) {
  UnigramSpec spec;
  for (auto& [token, score] : pieces) {
    spec.tokens.push_back(std::move(token));
    spec.scores.push_back(score);
  }
  spec.unk_id = 0;
  return spec;
}

TEST(UnigramTest, TakesTheBestWay) {
  const Unigram model(unigram_spec({{"<unk>", 0},
                                    {"a", 0},
                                    {"b", 0},
                                    {"c", 0},
                                    {"d", 0},
                                    {"cd", 1},
                                    {"ab", 2},
                                    {"abc", 5},
                                    {"abcd", 10}}));
  EXPECT_EQ(written(model, "abcdacdxx"), "abcd|a|cd|<unk>");
  EXPECT_EQ(tokenize(model, "xéx"), (std::vector<PieceToken>{{0, 0, 4}}));
  EXPECT_TRUE(tokenize(model, "").empty());
  // The unknown token's text is a token; next to unknown characters it goes with them.
  EXPECT_EQ(tokenize(model, "a<unk>a"), (std::vector<PieceToken>{{1, 0, 1}, {0, 1, 6}, {1, 6, 7}}));
  EXPECT_EQ(tokenize(model, "<unk>x").size(), 1u);
}

TEST(UnigramTest, TiesGoToTheLongerLastToken) {
  const Unigram model(unigram_spec({{"<unk>", 0}, {"a", -1}, {"aa", -2}, {"aaa", -3}}));
  EXPECT_EQ(written(model, "aaaa"), "a|aaa");
}

TEST(UnigramTest, FallsBackToBytes) {
  UnigramSpec spec = unigram_spec({{"<unk>", 0}, {"a", -1}, {"<0xC3>", -9}, {"<0xA9>", -9}});
  spec.byte_fallback = true;
  const Unigram model(std::move(spec));
  EXPECT_EQ(tokenize(model, "aé"), (std::vector<PieceToken>{{1, 0, 1}, {2, 1, 3}, {3, 1, 3}}));
  // All of a run or nothing.
  EXPECT_EQ(written(model, "éx"), "<unk>");
}

TEST(UnigramTest, ScoresAsSentencePieceDoes) {
  // 2^24 + 1 is no float32: the sum of "a" and "b" rounds down to 2^24.
  auto pieces =
      unigram_spec({{"<unk>", 0}, {"a", 16777216}, {"b", 1}, {"c", 1}, {"abc", 16777217.5}});
  EXPECT_EQ(written(Unigram(pieces), "abc"), "a|b|c");
  pieces.float_scores = true;
  EXPECT_EQ(written(Unigram(pieces), "abc"), "abc");

  UnigramSpec spec = unigram_spec({{"<unk>", 0}, {"<s>", 0}, {"a", -1}, {"b", -1}, {"ab", -50}});
  spec.float_scores = true;
  using Kind = UnigramSpec::Kind;
  spec.kinds = {Kind::hidden, Kind::hidden, Kind::normal, Kind::normal, Kind::user_defined};
  const Unigram model(std::move(spec));
  EXPECT_EQ(written(model, "ab"), "ab");  // whatever its score
  EXPECT_EQ(written(model, "<s>"), "<unk>");
}

TEST(UnigramTest, SaysWhatDoesNotFit) {
  UnigramSpec spec = unigram_spec({{"a", -1}});
  spec.unk_id = 1;
  EXPECT_THROW(Unigram{spec}, ValueError);
  spec.unk_id = std::nullopt;
  EXPECT_THROW(tokenize(Unigram(spec), "ab"), ValueError);
  spec.scores.push_back(1);
  EXPECT_THROW(Unigram{spec}, ValueError);
}

TEST(UnigramTest, EqualsItsDefinition) {
  Random random(3);
  for (int round = 0; round < 40; ++round) {
    std::map<std::string, double> scores;
    for (size_t n = 1 + random.below(30); n > 0; --n) {
      scores[random.text(kLetters, 4)] = -static_cast<double>(random.below(40)) / 4;
    }
    std::vector<std::pair<std::string, double>> pieces{{"<unk>", 0}};
    pieces.insert(pieces.end(), scores.begin(), scores.end());
    const Unigram model(unigram_spec(pieces));
    double least = 0;
    for (const auto& [token, score] : scores) least = std::min(least, score);
    for (int i = 0; i < 100; ++i) {
      const std::string text = random.text(kLetters, 7);
      // The best sum over all ways.
      std::vector<double> best(text.size() + 1, -std::numeric_limits<double>::infinity());
      best[0] = 0;
      for (size_t begin = 0; begin < text.size(); ++begin) {
        for (const std::string& letter : kLetters) {
          if (!text.substr(begin).starts_with(letter)) continue;
          const size_t end = begin + letter.size();
          if (!scores.count(letter)) best[end] = std::max(best[end], best[begin] + least - 10);
        }
        for (const auto& [token, score] : scores) {
          if (!text.substr(begin).starts_with(token)) continue;
          const size_t end = begin + token.size();
          best[end] = std::max(best[end], best[begin] + score);
        }
      }
      double sum = 0;
      uint32_t at = 0;
      for (const PieceToken& token : tokenize(model, text)) {
        EXPECT_EQ(token.begin, at);
        at = token.end;
        const std::string part = text.substr(token.begin, token.end - token.begin);
        if (token.id != 0) {
          EXPECT_EQ(part, model.vocabulary().token(token.id));
          sum += scores.at(part);
          continue;
        }
        for (const char c : part) {
          if ((static_cast<unsigned char>(c) & 0xC0) != 0x80) sum += least - 10;
        }
      }
      EXPECT_EQ(at, text.size());
      EXPECT_DOUBLE_EQ(sum, best[text.size()]) << text;
    }
  }
}

struct Bpe {
  Strings tokens;
  std::vector<std::pair<std::string, std::string>> merges;
  CharBpeSpec spec;

  CharBpe model() const {
    const Vocabulary vocabulary(tokens);
    std::vector<CharBpe::Merge> list;
    for (const auto& [left, right] : merges) {
      list.push_back({vocabulary.find(left).value_or(-1), vocabulary.find(right).value_or(-1),
                      static_cast<uint32_t>(list.size())});
    }
    return CharBpe(Vocabulary(tokens), std::move(list), spec);
  }
};

TEST(CharBpeTest, MarksTheEndOfAWord) {
  const CharBpe model = Bpe{{"<unk>", "l", "o", "w", "w</w>", "lo", "low</w>", "low"},
                            {{"l", "o"}, {"lo", "w</w>"}, {"lo", "w"}},
                            {.unk_token = "<unk>", .word_suffix = "</w>"}}
                            .model();
  EXPECT_EQ(written(model, "low"), "low</w>");
  EXPECT_EQ(written(model, "lowl"), "low|<unk>");  // "l</w>" is no token
  EXPECT_EQ(tokenize(model, "low"), (std::vector<PieceToken>{{6, 0, 3}}));
}

TEST(CharBpeTest, MarksWhatContinuesAWord) {
  const CharBpe model = Bpe{
      {"a", "##a", "##b", "ab", "##ba"},
      {{"a", "##b"}, {"##b", "##a"}},
      {.continuing_prefix =
           "##"}}.model();
  EXPECT_EQ(written(model, "aba"), "ab|##a");
  EXPECT_EQ(written(model, "aaba"), "a|##a|##ba");
  // Without an unknown token, what is unknown is left out.
  EXPECT_EQ(written(model, "xa"), "##a");
}

TEST(CharBpeTest, KnowsUnknownCharacters) {
  Bpe bpe{{"<unk>", "a", "<0xC3>", "<0xA9>"}, {}, {.unk_token = "<unk>"}};
  EXPECT_EQ(tokenize(bpe.model(), "aé漢漢"),
            (std::vector<PieceToken>{{1, 0, 1}, {0, 1, 3}, {0, 3, 6}, {0, 6, 9}}));
  bpe.spec.fuse_unk = true;
  EXPECT_EQ(tokenize(bpe.model(), "aé漢a"),
            (std::vector<PieceToken>{{1, 0, 1}, {0, 1, 6}, {1, 6, 7}}));
  bpe.spec.byte_fallback = true;
  EXPECT_EQ(tokenize(bpe.model(), "aé漢"),
            (std::vector<PieceToken>{{1, 0, 1}, {2, 1, 2}, {3, 2, 3}, {0, 3, 6}}));
  bpe.spec.unk_token = "[UNK]";
  EXPECT_EQ(written(bpe.model(), "aé"), "a|<0xC3>|<0xA9>");
  EXPECT_THROW(tokenize(bpe.model(), "漢"), ValueError);
}

TEST(CharBpeTest, TakesAWholePieceFirstWhereMergesAreIgnored) {
  Bpe bpe{{"a", "b", "ab", "abab"}, {{"a", "b"}}, {}};
  EXPECT_EQ(written(bpe.model(), "abab"), "ab|ab");
  bpe.spec.ignore_merges = true;
  EXPECT_EQ(written(bpe.model(), "abab"), "abab");
  EXPECT_EQ(written(bpe.model(), "ababa"), "ab|ab|a");
}

TEST(CharBpeTest, MergesByScore) {
  // As SentencePiece's BPE: pairs that make one token have one rank, the leftmost first.
  const Strings tokens{"a", "b", "aa", "aaa", "x", "ab"};
  const double none = -std::numeric_limits<double>::infinity();
  const std::vector<double> scores{none, none, -1, -2, none, -1};
  std::vector<double> usable = scores;
  usable[0] = usable[1] = -100;
  const auto merges = CharBpe::merges_by_score(Vocabulary(tokens), usable);
  std::vector<std::array<int64_t, 3>> list;
  for (const auto& merge : merges) list.push_back({merge.left, merge.right, merge.rank});
  EXPECT_EQ(list,
            (std::vector<std::array<int64_t, 3>>{{0, 0, 0}, {0, 1, 0}, {0, 2, 1}, {2, 0, 1}}));
  const CharBpe model(Vocabulary(tokens), merges, {});
  EXPECT_EQ(written(model, "aaaaa"), "aa|aaa");
  EXPECT_EQ(written(model, "aab"), "aa|b");  // one rank: the left pair first
  EXPECT_TRUE(CharBpe::merges_by_score(Vocabulary(tokens), scores).empty());
  EXPECT_THROW(CharBpe::merges_by_score(Vocabulary(tokens), std::vector<double>{1}), ValueError);
}

TEST(CharBpeTest, SaysWhatDoesNotFit) {
  EXPECT_THROW((Bpe{{"a", "b"}, {{"a", "b"}}, {}}.model()), ValueError);
  EXPECT_THROW((Bpe{{"a", "b", "ab"}, {{"a", "c"}}, {}}.model()), ValueError);
  EXPECT_THROW((Bpe{{"a", "b", "ab"}, {{"a", "b"}}, {.continuing_prefix = "##"}}.model()),
               ValueError);
}

TEST(CharBpeTest, EqualsItsDefinition) {
  Random random(4);
  const Strings letters{"a", "b", "é", "漢"};
  for (int round = 0; round < 40; ++round) {
    Bpe bpe{letters, {}, {}};
    for (size_t n = random.below(25); n > 0; --n) {
      const std::string left = bpe.tokens[random.below(bpe.tokens.size())];
      const std::string right = bpe.tokens[random.below(bpe.tokens.size())];
      const auto pair = std::make_pair(left, right);
      if (std::find(bpe.merges.begin(), bpe.merges.end(), pair) != bpe.merges.end()) continue;
      bpe.merges.push_back(pair);
      const std::string made = left + right;
      if (std::find(bpe.tokens.begin(), bpe.tokens.end(), made) == bpe.tokens.end()) {
        bpe.tokens.push_back(made);
      }
    }
    const CharBpe model = bpe.model();
    for (const size_t longest : {4u, 47u, 48u, 49u, 200u}) {  // by scan and by heap
      for (int i = 0; i < 10; ++i) {
        const std::string text = random.text(letters, longest);
        Strings parts;
        for (size_t at = 0; at < text.size();) {
          for (const std::string& letter : letters) {
            if (!text.substr(at).starts_with(letter)) continue;
            parts.push_back(letter);
            at += letter.size();
            break;
          }
        }
        for (bool merged = true; merged;) {
          merged = false;
          for (const auto& [left, right] : bpe.merges) {
            for (size_t k = 0; k + 1 < parts.size() && !merged; ++k) {
              if (parts[k] != left || parts[k + 1] != right) continue;
              parts[k] += right;
              parts.erase(parts.begin() + static_cast<ptrdiff_t>(k) + 1);
              merged = true;
            }
            if (merged) break;
          }
        }
        std::string expected;
        for (const std::string& part : parts) expected += (expected.empty() ? "" : "|") + part;
        EXPECT_EQ(written(model, text), expected) << text;
      }
    }
  }
}

}  // namespace
}  // namespace msltx::text
