#include "msltx/text/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>

#include <thread>

#include "text/reference.h"
#include "text/temporary_folder.h"

namespace msltx::text {
namespace {

std::string sample_text() {
  std::string text;
  for (uint32_t seed = 0; seed < 40; ++seed) text += reference::RandomText(seed).text(50) + "\n";
  return text + read_file(MSLTX_SOURCE_DIR "/LICENSE");
}

class TokenizerTest : public TemporaryFolderTest {
 protected:
  Tokenizer trained(TrainOptions options = {}, int threads = 2) {
    const Path path = file("train.txt", sample_text());
    Executor executor(threads);
    if (options.vocab_size == TrainOptions{}.vocab_size) options.vocab_size = 400;
    return Tokenizer::train(std::span(&path, 1), options, executor);
  }
};

using Ids = std::vector<int32_t>;

TEST_F(TokenizerTest, DecodeGivesBackWhatWasEncoded) {
  const Tokenizer tokenizer = trained();
  EXPECT_EQ(tokenizer.vocab_size(), 400);
  for (uint32_t seed = 0; seed < 300; ++seed) {
    const std::string text = reference::RandomText(seed + 500).text(seed % 90);
    ASSERT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
  }
  EXPECT_EQ(tokenizer.encode(""), Ids{});
  EXPECT_THROW(tokenizer.encode("ab\xff"), ValueError);
  EXPECT_EQ(message_of<ValueError>([&] { tokenizer.encode("ab\xff"); }),
            "the text has invalid UTF-8 at byte 2 (0xff)");
}

TEST_F(TokenizerTest, EncodeEqualsTheDefinition) {
  const Tokenizer tokenizer = trained();
  std::vector<std::pair<std::string, std::string>> merges;
  for (const auto& [left, right] : tokenizer.spec().merges) {
    merges.emplace_back(tokenizer.id_to_token(left), tokenizer.id_to_token(right));
  }
  for (uint32_t seed = 0; seed < 40; ++seed) {
    const std::string text = reference::RandomText(seed).text(60);
    std::vector<std::string> expected, got;
    for (const std::string& piece : reference::split_gpt2(text)) {
      for (const std::string& token : reference::merge(piece, merges)) expected.push_back(token);
    }
    for (const int32_t id : tokenizer.encode(text)) got.push_back(tokenizer.id_to_token(id));
    ASSERT_EQ(got, expected);
  }
}

TEST_F(TokenizerTest, SpecialTokensHaveIdsAndRoles) {
  const Tokenizer tokenizer = trained();
  EXPECT_EQ(tokenizer.roles().pad, 0);
  EXPECT_EQ(tokenizer.roles().unk, 1);
  EXPECT_EQ(tokenizer.roles().bos, 2);
  EXPECT_EQ(tokenizer.roles().eos, 3);
  const Ids plain = tokenizer.encode("the");
  Ids wrapped{2};
  wrapped.insert(wrapped.end(), plain.begin(), plain.end());
  wrapped.push_back(3);
  EXPECT_EQ(tokenizer.encode("the", true), wrapped);
  EXPECT_EQ(tokenizer.encode("[BOS]the[EOS]"), wrapped);  // written in the text
  EXPECT_EQ(tokenizer.decode(wrapped), "[BOS]the[EOS]");
  EXPECT_EQ(tokenizer.decode(wrapped, true), "the");
  EXPECT_EQ(tokenizer.encode("[[EOS]]"),
            (Ids{*tokenizer.token_to_id("["), 3, *tokenizer.token_to_id("]")}));
  EXPECT_EQ(tokenizer.token_to_id("nowhere"), std::nullopt);
  EXPECT_TRUE(tokenizer.is_special(3));
  EXPECT_FALSE(tokenizer.is_special(4));
}

TEST_F(TokenizerTest, SpecialTokensAreTheCallersChoice) {
  const Tokenizer none = trained({.special_tokens = {}});
  EXPECT_EQ(none.roles().eos, std::nullopt);
  EXPECT_EQ(none.encode("x", true), none.encode("x"));
  const Tokenizer gpt = trained({.special_tokens = {"<|endoftext|>", "<|end", "[a b]"}});
  EXPECT_EQ(gpt.roles().bos, 0);
  EXPECT_EQ(gpt.roles().eos, 0);
  EXPECT_EQ(gpt.encode("<|endoftext|><|end[a b]"), (Ids{0, 1, 2}));  // the longest wins
  EXPECT_THROW(trained({.special_tokens = {"x", "x"}}), ValueError);
  EXPECT_THROW(trained({.special_tokens = {""}}), ValueError);
  EXPECT_THROW(trained({.special_tokens = {"\xff"}}), ValueError);
}

TEST_F(TokenizerTest, LowercaseIsPartOfTheTokenizer) {
  const Tokenizer tokenizer = trained({.lowercase = true});
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("ÀB [EOS] [eos]")), "àb [EOS] [eos]");
  const Tokenizer again = Tokenizer::from_json(tokenizer.to_json());
  EXPECT_EQ(again.encode("ÀB [EOS]"), tokenizer.encode("ÀB [EOS]"));
}

TEST_F(TokenizerTest, SaveAndLoad) {
  const Tokenizer tokenizer = trained();
  tokenizer.save(folder_ / "tokenizer.json");
  for (const Path& path : {folder_, folder_ / "tokenizer.json"}) {
    const Tokenizer loaded = Tokenizer::load(path);
    EXPECT_TRUE(loaded.to_json() == tokenizer.to_json());
    EXPECT_EQ(loaded.encode(sample_text(), true), tokenizer.encode(sample_text(), true));
    EXPECT_EQ(loaded.roles().eos, 3);
  }
  EXPECT_THROW(Tokenizer::load(folder_ / "no.json"), FileError);
  EXPECT_THROW(tokenizer.save(folder_ / "no" / "tokenizer.json"), FileError);
}

TEST_F(TokenizerTest, TrainingGivesTheSameAtAnyNumberOfThreads) {
  const std::string first = trained({}, 1).to_json();
  for (const int threads : {2, 3, 8}) EXPECT_TRUE(trained({}, threads).to_json() == first);
}

TEST_F(TokenizerTest, ParallelEncodingGivesTheSameIds) {
  const Tokenizer tokenizer = trained({.special_tokens = {"[EOS]", "a b"}});
  std::string text;
  while (text.size() < 1200000) text += sample_text() + "[EOS] a b  a b";
  text += std::string(300000, ' ') + std::string(200000, 'x');
  const Ids expected = tokenizer.encode(text, true);
  for (const int threads : {1, 2, 3, 8}) {
    Executor executor(threads);
    const IdArray ids = tokenizer.encode_parallel(text, executor, true);
    EXPECT_TRUE(std::ranges::equal(ids.view(), expected));
  }
  Executor executor(3);
  const std::vector<std::string_view> texts{"", "a b", text, "x", text};
  const auto batch = tokenizer.encode_batch(texts, executor);
  ASSERT_EQ(batch.size(), 5u);
  for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(batch[i], tokenizer.encode(texts[i]));
}

TEST_F(TokenizerTest, ConcurrentCallersGetTheSameIds) {
  const Tokenizer tokenizer = trained();
  const std::string text = sample_text();
  const Ids expected = tokenizer.encode(text);
  std::vector<std::thread> callers;
  std::atomic<int> equal{0};
  for (int i = 0; i < 6; ++i) {
    callers.emplace_back([&] {
      for (int k = 0; k < 10; ++k) equal += tokenizer.encode(text) == expected;
    });
  }
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(equal, 60);
}

// More distinct words than the cache has room for, of more ids than an entry holds.
TEST_F(TokenizerTest, TheCacheForgetsWithoutHarm) {
  const Tokenizer tokenizer = trained({.vocab_size = 260});
  std::string text;
  for (int i = 0; i < 120000; ++i) {
    std::string word(" ");
    for (int k = i; k > 0; k /= 26) word += static_cast<char>('a' + k % 26);
    text += word + "qz";
  }
  const Ids ids = tokenizer.encode(text);
  EXPECT_EQ(tokenizer.decode(ids), text);
  EXPECT_EQ(tokenizer.encode(text), ids);
  EXPECT_EQ(Tokenizer::from_json(tokenizer.to_json()).encode(text), ids);
}

TEST_F(TokenizerTest, IdsOutsideTheVocabularyAreRefused) {
  const Tokenizer tokenizer = trained();
  for (const int32_t id : {-1, 400, 1 << 30}) {
    const Ids ids{5, id};
    EXPECT_EQ(message_of<ValueError>([&] { tokenizer.decode(ids); }),
              concat("token id ", id, " is outside the vocabulary of 400 tokens"));
    EXPECT_THROW(tokenizer.id_to_token(id), ValueError);
  }
}

TEST_F(TokenizerTest, BadTrainingInputIsOneSentence) {
  Executor executor(2);
  const auto message = [&](const Path& path, const TrainOptions& options) {
    return message_of<Error>([&] { Tokenizer::train(std::span(&path, 1), options, executor); });
  };
  EXPECT_EQ(message(file("empty.txt", ""), {}), "there is no text to train a tokenizer on");
  EXPECT_NE(message(folder_ / "no.txt", {}).find("No such file"), std::string::npos);
  EXPECT_NE(message(file("bad.txt", "abc\xff"), {}).find("invalid UTF-8 at byte 3"),
            std::string::npos);
  EXPECT_EQ(message(file("bad.txt", "abc\xff"), {.invalid_utf8 = InvalidUtf8::replace}), "");
  EXPECT_EQ(message(file("a.txt", "abc"), {.model = "bp"}),
            "model is bp; it takes bpe, bytes, char_bpe, wordpiece, unigram, word_level or chars");
  EXPECT_EQ(message(file("a.txt", "abc"), {.vocab_size = 100}),
            "vocab_size is 100; it takes 260 (4 special tokens and 256 bytes) to 1073741824");
}

TEST_F(TokenizerTest, TrainingCanBeCancelled) {
  const Path path = file("train.txt", sample_text());
  Executor executor(2);
  EXPECT_THROW(Tokenizer::train(std::span(&path, 1), {.vocab_size = 2000}, executor,
                                [&](const Progress&) { executor.cancel(); }),
               Cancelled);
}

TEST_F(TokenizerTest, StreamDecoderNeverShowsHalfACharacter) {
  const Tokenizer tokenizer = trained({.vocab_size = 260});  // hardly a merge: bytes
  const std::string text = "né 中文 😀x";
  StreamDecoder decoder(tokenizer);
  std::string shown;
  for (const int32_t id : tokenizer.encode(text)) {
    const std::string part = decoder.push(id);
    EXPECT_EQ(find_invalid_utf8(part), kValid);
    EXPECT_EQ(part.find("\ufffd"), std::string::npos);
    shown += part;
  }
  EXPECT_EQ(shown + decoder.finish(), text);
  EXPECT_EQ(decoder.finish(), "");
}

TEST_F(TokenizerTest, StreamDecoderShowsBrokenCharactersAsReplaced) {
  const Tokenizer tokenizer = trained({.vocab_size = 260});
  const auto byte = [&](char c) { return *tokenizer.token_to_id(to_byte_alphabet({&c, 1})); };
  StreamDecoder decoder(tokenizer);
  EXPECT_EQ(decoder.push(byte('\xe4')), "");
  EXPECT_EQ(decoder.push(byte('a')), "\ufffda");
  EXPECT_EQ(decoder.push(byte('\xf0')), "");
  EXPECT_EQ(decoder.push(3), "");  // [EOS] is left out
  EXPECT_EQ(decoder.push(byte('\x9f')), "");
  EXPECT_EQ(decoder.finish(), "\ufffd");
  EXPECT_EQ(StreamDecoder(tokenizer, false).push(3), "[EOS]");
}

}  // namespace
}  // namespace msltx::text
