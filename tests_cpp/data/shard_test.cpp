#include "msltx/data/shard.h"

#include <gtest/gtest.h>

#include <cstring>

#include "text/temporary_folder.h"

namespace msltx::data {
namespace {

class ShardTest : public TemporaryFolderTest {
 protected:
  // Three documents: ids 0, 7, 14 ... below the vocabulary's size.
  Path write(int64_t vocab_size, int tokens = 300) {
    const Path path = folder_ / "train-00000.bin";
    ShardWriter writer(path, vocab_size);
    for (const int part : {tokens / 3, 1, tokens - tokens / 3 - 1}) {
      std::vector<int32_t> ids;
      for (int i = 0; i < part; ++i) ids.push_back(static_cast<int32_t>(next_++ * 7 % vocab_size));
      writer.add_document(ids);
    }
    EXPECT_EQ(writer.tokens(), tokens);
    writer.commit();
    next_ = 0;
    return path;
  }
  // The file with `bytes` written over it at `at`.
  void patch(const Path& path, size_t at, std::string_view bytes) {
    std::string content = read_file(path);
    content.replace(at, bytes.size(), bytes);
    write_file(path, content);
  }
  int64_t next_ = 0;
};

TEST_F(ShardTest, IdsComeBackInTwoAndInFourBytes) {
  for (const int64_t vocab_size :
       {int64_t{50000}, int64_t{65536}, int64_t{65537}, int64_t{200000}}) {
    const Path path = write(vocab_size);
    const int width = bytes_per_token(vocab_size);
    EXPECT_EQ(width, vocab_size <= 65536 ? 2 : 4);
    EXPECT_EQ(std::filesystem::file_size(path), 64u + 300u * static_cast<unsigned>(width));
    const Shard shard(path, vocab_size);
    EXPECT_EQ(shard.tokens(), 300);
    shard.verify();
    std::vector<int32_t> ids(200);
    shard.read(50, ids);
    for (int64_t i = 0; i < 200; ++i) {
      EXPECT_EQ(ids[static_cast<size_t>(i)], (50 + i) * 7 % vocab_size);
    }
    EXPECT_EQ(shard.document_offsets(), (std::vector<uint64_t>{0, 100, 101, 300}));
    EXPECT_THROW(shard.read(101, ids), ValueError);
    EXPECT_THROW(shard.read(-1, ids), ValueError);
  }
}

TEST_F(ShardTest, TruncatedAndForeignFilesAreRefused) {
  const Path path = write(1000);
  const std::string whole = read_file(path);
  for (const size_t size :
       {size_t{0}, size_t{10}, size_t{63}, size_t{64}, whole.size() - 1, whole.size() - 2}) {
    write_file(path, whole.substr(0, size));
    EXPECT_THROW(Shard(path, 1000), FileError) << size;
  }
  write_file(path, whole + "x");
  EXPECT_THROW(Shard(path, 1000), FileError);
  write_file(path, std::string(whole.size(), 'x'));
  EXPECT_NE(message_of<FileError>([&] { Shard(path, 1000); }).find("is not a shard of msltx"),
            std::string::npos);
  write_file(path, whole);
  EXPECT_THROW(Shard(path, 999), FileError);  // another vocabulary
  EXPECT_THROW(Shard(folder_ / "no.bin", 1000), FileError);
}

TEST_F(ShardTest, EveryHeaderFieldIsChecked) {
  const Path path = write(1000);
  const std::string whole = read_file(path);
  struct Case {
    size_t at;
    std::string_view bytes;
    const char* message;
  };
  const std::string_view huge("\xff\xff\xff\xff\xff\xff\xff\x7f", 8);
  for (const Case& c : {Case{8, std::string_view("\2\0\0\0", 4), "version 2"},
                        Case{12, std::string_view("\3\0\0\0", 4), "3 bytes per token"},
                        Case{12, std::string_view("\4\0\0\0", 4), "truncated or damaged"},
                        Case{16, huge, "truncated or damaged"},
                        Case{16, std::string_view("\0\0\0\0\0\0\0\x80", 8), "truncated or damaged"},
                        Case{24, std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff", 8),
                             "18446744073709551615 documents"},
                        Case{44, std::string_view("\xff\xff\0\0", 4), "ids up to 65535"}}) {
    patch(path, c.at, c.bytes);
    const std::string message = message_of<FileError>([&] { Shard(path, 1000); });
    EXPECT_NE(message.find(c.message), std::string::npos) << c.at << ": " << message;
    write_file(path, whole);
  }
}

TEST_F(ShardTest, DamageInsideIsFound) {
  const Path path = write(1000);
  patch(path, 64 + 2 * 17, "\5");  // another id: only reading everything tells
  EXPECT_THROW(Shard(path, 1000).verify(), FileError);
  patch(path, 64 + 2 * 17, "\xff\xff");
  const Shard shard(path, 1000);
  std::vector<int32_t> ids(10);
  shard.read(0, ids);
  const std::string message = message_of<FileError>([&] { shard.read(10, ids); });
  EXPECT_NE(message.find("has token id 65535 among tokens 10 to 19; the vocabulary has 1000"),
            std::string::npos)
      << message;
}

TEST_F(ShardTest, TheIndexIsChecked) {
  const Path path = write(1000);
  const Path index = index_path(path);
  const std::string whole = read_file(index);
  const Shard shard(path, 1000);
  const auto broken = [&](const std::string& content) {
    write_file(index, content);
    return message_of<FileError>([&] { shard.document_offsets(); });
  };
  EXPECT_EQ(broken(whole), "");
  EXPECT_NE(broken(whole.substr(0, whole.size() - 8)), "");
  EXPECT_NE(broken(whole.substr(0, 20)), "");
  EXPECT_NE(broken("x" + whole.substr(1)), "");
  std::string unordered = whole;
  unordered[32 + 8] = 120;  // the second document after the third
  EXPECT_NE(broken(unordered).find("out of order"), std::string::npos);
  std::string other = whole;
  other[16] = 2;
  EXPECT_NE(broken(other).find("belongs to another shard"), std::string::npos);
}

TEST(Checksum, DoesNotDependOnThePieces) {
  std::vector<std::byte> bytes;
  for (int i = 0; i < 100; ++i) bytes.push_back(static_cast<std::byte>(i * 37));
  Checksum whole;
  whole.add(bytes);
  for (const size_t step : {1u, 2u, 3u, 7u, 8u, 9u, 64u}) {
    Checksum pieces;
    for (size_t at = 0; at < bytes.size(); at += step) {
      pieces.add(std::span(bytes).subspan(at, std::min(step, bytes.size() - at)));
    }
    EXPECT_EQ(pieces.value(), whole.value()) << step;
  }
  Checksum shorter;
  shorter.add(std::span(bytes).first(99));
  EXPECT_NE(shorter.value(), whole.value());
}

}  // namespace
}  // namespace msltx::data
