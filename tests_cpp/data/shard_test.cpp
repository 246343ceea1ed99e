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
      writer.add_document(ids, 5 * part);
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
    const DocumentIndex index = shard.index();
    ASSERT_EQ(index.documents(), 3);
    const std::vector<int64_t> begins{0, 100, 101, 300}, bytes{0, 500, 505, 1500};
    for (int64_t i = 0; i <= 3; ++i) {
      EXPECT_EQ(index.begin(i), begins[static_cast<size_t>(i)]);
      EXPECT_EQ(index.bytes_before(i), bytes[static_cast<size_t>(i)]);
    }
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
    return message_of<FileError>([&] { static_cast<void>(shard.index()); });
  };
  EXPECT_EQ(broken(whole), "");
  EXPECT_NE(broken(whole.substr(0, whole.size() - 8)), "");
  EXPECT_NE(broken(whole.substr(0, 20)), "");
  EXPECT_NE(broken("x" + whole.substr(1)), "");
  std::string unordered = whole;
  unordered[32 + 16] = 120;  // the second document after the third
  EXPECT_NE(broken(unordered).find("out of order"), std::string::npos);
  std::string other = whole;
  other[16] = 2;
  EXPECT_NE(broken(other).find("belongs to another shard"), std::string::npos);
}

class ForeignShardTest : public TemporaryFolderTest {
 protected:
  template <class T>
  static std::string bytes_of(const std::vector<T>& numbers) {
    return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(T)};
  }
  static std::string llmc(int32_t magic, int32_t version, int32_t tokens, const std::string& ids) {
    std::vector<int32_t> header(256);
    header[0] = magic;
    header[1] = version;
    header[2] = tokens;
    return bytes_of(header) + ids;
  }
  static std::vector<int64_t> begins(const Shard& shard) {
    const DocumentIndex index = shard.index();
    std::vector<int64_t> out;
    for (int64_t i = 0; i <= index.documents(); ++i) out.push_back(index.begin(i));
    return out;
  }
  static std::vector<int32_t> ids_of(const Shard& shard) {
    std::vector<int32_t> ids(static_cast<size_t>(shard.tokens()));
    shard.read(0, ids);
    return ids;
  }
};

TEST_F(ForeignShardTest, NanoGpt) {
  const std::vector<uint16_t> ids{5, 6, 9, 7, 9, 8};
  const Shard shard = Shard::foreign(file("train.bin", bytes_of(ids)), 50257, 9);
  EXPECT_EQ(ids_of(shard), (std::vector<int32_t>{5, 6, 9, 7, 9, 8}));
  EXPECT_EQ(begins(shard), (std::vector<int64_t>{0, 3, 5, 6}));
  shard.verify();
  const Shard one = Shard::foreign(file("val.bin", bytes_of(ids)), 50257, std::nullopt);
  EXPECT_EQ(begins(one), (std::vector<int64_t>{0, 6}));
  const Shard wide =
      Shard::foreign(file("w.bin", bytes_of(std::vector<uint32_t>{70000, 1})), 100000, 1);
  EXPECT_EQ(ids_of(wide), (std::vector<int32_t>{70000, 1}));
  EXPECT_EQ(Shard::foreign(file("e.bin", ""), 100, 1).tokens(), 0);
  EXPECT_THROW(Shard::foreign(file("odd.bin", "abc"), 100, 1), FileError);
  const Shard outside = Shard::foreign(file("o.bin", bytes_of(ids)), 8, std::nullopt);
  EXPECT_THROW(outside.verify(), FileError);
}

TEST_F(ForeignShardTest, LlmC) {
  const std::vector<uint16_t> ids{9, 5, 6, 9, 7};  // its token stands before each document
  const Shard shard =
      Shard::foreign(file("x_train.bin", llmc(20240520, 1, 5, bytes_of(ids))), 50257, 9);
  EXPECT_EQ(ids_of(shard), (std::vector<int32_t>{9, 5, 6, 9, 7}));
  EXPECT_EQ(begins(shard), (std::vector<int64_t>{0, 3, 5}));
  const std::vector<uint32_t> wide{128000, 5};
  EXPECT_EQ(
      ids_of(Shard::foreign(file("l.bin", llmc(20240801, 7, 2, bytes_of(wide))), 128256, 128000)),
      (std::vector<int32_t>{128000, 5}));
  EXPECT_THROW(Shard::foreign(file("v.bin", llmc(20240520, 2, 5, bytes_of(ids))), 50257, 9),
               FileError);
  for (const int32_t tokens : {4, 6, -1, INT32_MAX}) {
    EXPECT_THROW(Shard::foreign(file("t.bin", llmc(20240520, 1, tokens, bytes_of(ids))), 50257, 9),
                 FileError);
  }
  EXPECT_THROW(Shard::foreign(file("s.bin", llmc(20240520, 1, 0, "").substr(0, 500)), 50257, 9),
               FileError);
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
