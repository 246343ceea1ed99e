#include "msltx/text/byte_source.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <vector>

#include "msltx/text/text_blocks.h"
#include "text/temporary_folder.h"

namespace msltx::text {
namespace {

std::string gzip(const std::string& text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string zstd(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  ZSTD_CCtx* const context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);  // as the zstd program does
  out.resize(ZSTD_compress2(context, out.data(), out.size(), text.data(), text.size()));
  ZSTD_freeCCtx(context);
  return out;
}

std::string read_all(ByteSource& source, size_t step) {
  std::string out, part(step, '\0');
  while (const size_t n = source.read(part.data(), step)) out.append(part, 0, n);
  return out;
}

class ByteSourceTest : public TemporaryFolderTest {
 protected:
  std::string read(const std::string& content, size_t step = 1000) {
    ByteSource source(file("x", content));
    std::string out = read_all(source, step);
    EXPECT_EQ(source.bytes_read(), static_cast<int64_t>(content.size()));
    EXPECT_EQ(source.bytes_total(), static_cast<int64_t>(content.size()));
    return out;
  }
  static std::string text() {
    std::string out;
    for (int i = 0; i < 60000; ++i) out += concat("line ", i * 7919 % 10007, "\n");
    return out;
  }
};

TEST_F(ByteSourceTest, PlainAndCompressedGiveTheSame) {
  const std::string whole = text();
  for (const size_t step : {size_t{1}, size_t{1000}, size_t{1} << 20}) {
    const std::string content = step == 1 ? whole.substr(0, 5000) : whole;
    EXPECT_TRUE(read(content, step) == content);
    EXPECT_TRUE(read(gzip(content), step) == content);
    EXPECT_TRUE(read(zstd(content), step) == content);
    // Parts in a row, as `cat a.gz b.gz` makes them.
    EXPECT_TRUE(read(gzip(content) + gzip("end"), step) == content + "end");
    EXPECT_TRUE(read(zstd(content) + zstd("end"), step) == content + "end");
  }
  for (const char* little : {"", "a", "ab", "abc"}) {
    EXPECT_EQ(read(little), little);
    EXPECT_EQ(read(gzip(little)), little);
    EXPECT_EQ(read(zstd(little)), little);
  }
  EXPECT_EQ(read("\x1f"), "\x1f");
}

TEST_F(ByteSourceTest, DamageIsToldOfInOneSentence) {
  const std::string whole = text();
  for (const std::string& packed : {gzip(whole), zstd(whole)}) {
    for (const size_t size : {packed.size() - 1, packed.size() / 2, size_t{5}}) {
      const auto message = message_of<FileError>([&] { read(packed.substr(0, size)); });
      EXPECT_NE(message.find("x is damaged: its "), std::string::npos) << size << message;
    }
    std::string broken = packed;
    for (size_t i = 100; i < 200; ++i) broken[i] = static_cast<char>(i);
    EXPECT_THROW(read(broken), FileError);
  }
  EXPECT_THROW(ByteSource(folder_ / "no"), FileError);
  EXPECT_THROW(read(gzip("a") + "garbage"), FileError);
}

TEST_F(ByteSourceTest, StandardInput) {
  const std::string packed = gzip("from a pipe\n");
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(write(ends[1], packed.data(), packed.size()), static_cast<ssize_t>(packed.size()));
  close(ends[1]);
  const int before = dup(STDIN_FILENO);
  dup2(ends[0], STDIN_FILENO);
  close(ends[0]);
  ByteSource source("-");
  EXPECT_EQ(source.name(), "standard input");
  EXPECT_EQ(source.bytes_total(), 0);
  EXPECT_EQ(read_all(source, 100), "from a pipe\n");
  dup2(before, STDIN_FILENO);
  close(before);
}

TEST_F(ByteSourceTest, TextBlocksReadThemAll) {
  const std::string whole = "\xef\xbb\xbf" + text();
  for (const std::string& content : {whole, gzip(whole), zstd(whole)}) {
    TextBlocks blocks(file("t", content), InvalidUtf8::refuse, 4096);
    std::string joined;
    for (std::string block; blocks.next(block);) joined += block;
    EXPECT_TRUE(joined == text());
    EXPECT_EQ(blocks.bytes_read(), static_cast<int64_t>(content.size()));
  }
  // The offset is that of the text, not of the compressed file.
  const auto message = message_of<FileError>([&] {
    TextBlocks blocks(file("t", gzip("0123456789\xff")), InvalidUtf8::refuse);
    std::string block;
    blocks.next(block);
  });
  EXPECT_NE(message.find("t has invalid UTF-8 at byte 10 (0xff)"), std::string::npos) << message;
}

TEST_F(ByteSourceTest, LinesThatAreNoUtf8CanBeSkipped) {
  TextBlocks blocks(file("t", "one\ntw\xff\nthree\n\xfe"), InvalidUtf8::skip);
  std::string block;
  ASSERT_TRUE(blocks.next(block));
  EXPECT_EQ(block, "one\nthree\n");
  EXPECT_EQ(blocks.counts().skipped, 2);
}

}  // namespace
}  // namespace msltx::text
