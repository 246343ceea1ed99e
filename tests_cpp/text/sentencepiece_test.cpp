// SentencePiece files byte by byte: what damage and strange content lead to.
#include "msltx/text/sentencepiece.h"

#include <gtest/gtest.h>

#include <limits>

#include "msltx/base/error.h"
#include "msltx/text/charsmap.h"
#include "msltx/text/tokenizer.h"

namespace msltx::text {
namespace {

using Kind = SentencePieceFile::Kind;

SentencePieceFile small_file(SentencePieceFile::ModelType type) {
  SentencePieceFile file;
  file.model_type = type;
  file.pieces = {{"<unk>", 0, Kind::unknown},   {"<s>", 0, Kind::control},
                 {"</s>", 0, Kind::control},    {"\u2581lo", -1, Kind::normal},
                 {"w", -2, Kind::normal},       {"\u2581", -3, Kind::normal},
                 {"l", -4, Kind::normal},       {"o", -5, Kind::normal},
                 {"\u2581l", -6, Kind::normal}, {"<sep>", 0, Kind::user_defined}};
  return file;
}

Tokenizer tokenizer_of(const SentencePieceFile& file) {
  return Tokenizer(sentencepiece_spec(write_sentencepiece(file), "m.model"));
}

TEST(SentencePieceFile, IsReadAsItWasWritten) {
  SentencePieceFile file = small_file(SentencePieceFile::ModelType::bpe);
  file.byte_fallback = true;
  file.pad_id = 7;
  file.unk_surface = "?";
  file.charsmap = Charsmap::build({{"A", "a"}});
  file.remove_extra_whitespaces = false;
  const SentencePieceFile again = parse_sentencepiece(write_sentencepiece(file), "m.model");
  ASSERT_EQ(again.pieces.size(), file.pieces.size());
  EXPECT_EQ(again.pieces[3].text, "\u2581lo");
  EXPECT_EQ(again.pieces[3].score, -1);
  EXPECT_EQ(again.pieces[9].kind, Kind::user_defined);
  EXPECT_EQ(again.model_type, file.model_type);
  EXPECT_TRUE(again.byte_fallback);
  EXPECT_EQ(again.pad_id, 7);
  EXPECT_EQ(again.unk_surface, "?");
  EXPECT_EQ(again.charsmap, file.charsmap);
  EXPECT_FALSE(again.remove_extra_whitespaces);
}

TEST(SentencePieceFile, EncodesAndDecodes) {
  for (const auto type :
       {SentencePieceFile::ModelType::bpe, SentencePieceFile::ModelType::unigram}) {
    const Tokenizer tok = tokenizer_of(small_file(type));
    EXPECT_EQ(tok.encode("low  low "), (std::vector<int32_t>{3, 4, 3, 4}));
    EXPECT_EQ(tok.encode("<s>lo<sep>w"), (std::vector<int32_t>{5, 0, 6, 7, 9, 4}));
    EXPECT_EQ(tok.decode(tok.encode(" low low")), "low low");
    EXPECT_EQ(tok.decode(std::vector<int32_t>{1, 3, 0, 2}), "lo \u2047 ");
    EXPECT_EQ(tok.encode("w", true).front(), 1);
  }
}

// As its own library does.
TEST(SentencePieceFile, TextThatIsLeftOutWhollyStillHasASpaceInFront) {
  SentencePieceFile file = small_file(SentencePieceFile::ModelType::unigram);
  file.charsmap = Charsmap::build({{"\x01", ""}});
  EXPECT_EQ(tokenizer_of(file).encode("\x01\x01"), std::vector<int32_t>());
  file.remove_extra_whitespaces = false;
  const Tokenizer tok = tokenizer_of(file);
  EXPECT_EQ(tok.encode("\x01\x01"), std::vector<int32_t>{5});
  EXPECT_EQ(tok.encode(""), std::vector<int32_t>());
  const Encoding fully = tok.encode_fully("\x01\x01");
  EXPECT_EQ(fully.ids, std::vector<int32_t>{5});
  EXPECT_LE(fully.offsets[0].end, 2u);
}

TEST(SentencePieceFile, DamageIsAnErrorAtEveryPlace) {
  const std::string whole = write_sentencepiece(small_file(SentencePieceFile::ModelType::unigram));
  for (size_t cut = 0; cut < whole.size(); ++cut) {
    for (const char flip : {'\x01', '\x80', '\xff'}) {
      std::string damaged = whole;
      damaged[cut] = static_cast<char>(damaged[cut] ^ flip);
      for (const std::string& bytes : {whole.substr(0, cut), damaged}) {
        try {
          const Tokenizer tok(sentencepiece_spec(bytes, "m.model"));
          tok.decode(tok.encode("low lower"));
        } catch (const Error& error) {
          EXPECT_FALSE(std::string(error.what()).empty());
        }
      }
    }
  }
}

TEST(SentencePieceFile, RefusesWhatItDoesNotRead) {
  const auto message = [](auto&& change) {
    SentencePieceFile file = small_file(SentencePieceFile::ModelType::bpe);
    change(file);
    try {
      tokenizer_of(file);
    } catch (const FileError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(message([](auto& f) { f.model_type = SentencePieceFile::ModelType::word; }),
            "m.model has a model of words or characters; unigram and BPE are read");
  EXPECT_EQ(message([](auto& f) { f.whitespace_as_suffix = true; }),
            "m.model has treat_whitespace_as_suffix, which is not read");
  EXPECT_EQ(message([](auto& f) { f.unk_id = 3; }),
            "m.model has unk_id 3, which is no unknown piece of 10");
  EXPECT_EQ(message([](auto& f) { f.pieces[4].kind = Kind::unused; }),
            "m.model has the unused piece w, which BPE does not read");
  EXPECT_EQ(message([](auto& f) { f.pieces[4].kind = Kind::byte; }),
            "m.model has the byte piece w; they are <0x00> to <0xFF>");
  EXPECT_EQ(message([](auto& f) { f.pieces[4].score = std::numeric_limits<float>::quiet_NaN(); }),
            "m.model has a score that is not finite");
}

// Its pairs would be looked for over the square of its length: half a minute for this one.
TEST(SentencePieceFile, RefusesPiecesOfAbsurdLengthInBpe) {
  SentencePieceFile file = small_file(SentencePieceFile::ModelType::bpe);
  for (char c = 'A'; c <= 'Z'; ++c) file.pieces.push_back({std::string(1, c), -8, Kind::normal});
  file.pieces.push_back({std::string(1 << 12, 'l'), -9, Kind::normal});
  EXPECT_EQ(tokenizer_of(file).vocab_size(), 37);
  file.pieces.back().text += std::string(1 << 19, 'l');
  EXPECT_THROW(tokenizer_of(file), FileError);
}

TEST(CharsmapBuild, FindsTheLongest) {
  const Charsmap map(Charsmap::build({{"a", "1"}, {"ab", "22"}, {"\u00e9", ""}, {"xyz", "w"}}));
  EXPECT_EQ(map.longest("abc")->replacement, "22");
  EXPECT_EQ(map.longest("abc")->length, 2u);
  EXPECT_EQ(map.shortest("abc")->replacement, "1");
  EXPECT_EQ(map.longest("ac")->length, 1u);
  EXPECT_EQ(map.longest("\u00e9")->replacement, "");
  EXPECT_FALSE(map.longest("xy"));
  EXPECT_FALSE(map.longest("b"));
}

}  // namespace
}  // namespace msltx::text
