#include "msltx/data/document_reader.h"

#include <gtest/gtest.h>

#include "text/temporary_folder.h"

namespace msltx::data {
namespace {

class DocumentReaderTest : public TemporaryFolderTest {
 protected:
  // Documents as text; one that goes on in the next has "+" after it.
  std::vector<std::string> read(const std::vector<std::string>& contents, Separator separator) {
    std::vector<Path> files;
    int64_t bytes = 0;
    for (const std::string& content : contents) {
      files.push_back(file(concat("f", files.size(), ".txt"), content));
      bytes += static_cast<int64_t>(content.size());
    }
    DocumentReader reader(files, separator, text::InvalidUtf8::refuse);
    std::vector<std::string> documents;
    for (Document document; reader.next(document);) {
      documents.push_back(document.text + (document.ends ? "" : "+"));
    }
    EXPECT_EQ(reader.bytes_read(), bytes);
    EXPECT_EQ(reader.bytes_total(), bytes);
    return documents;
  }
};

using Documents = std::vector<std::string>;

TEST_F(DocumentReaderTest, BlankLines) {
  EXPECT_EQ(read({"a\nb\n\n\nc\n \t\r\nd"}, Separator::blank_line), (Documents{"a\nb", "c", "d"}));
  EXPECT_EQ(read({"\n\n a\r\n\r\nb\r\n", "c"}, Separator::blank_line), (Documents{" a", "b", "c"}));
  EXPECT_EQ(read({"", "\n\n", " "}, Separator::blank_line), Documents{});
}

TEST_F(DocumentReaderTest, Lines) {
  EXPECT_EQ(read({"a\n\nb\r\n  \nc", "d\n"}, Separator::line), (Documents{"a", "b", "c", "d"}));
}

TEST_F(DocumentReaderTest, Files) {
  EXPECT_EQ(read({"a\n\nb\n", "", "c"}, Separator::file), (Documents{"a\n\nb", "c"}));
}

TEST_F(DocumentReaderTest, LongDocumentsComeInPartsThatAreTheDocument) {
  std::string text;
  for (int i = 0; text.size() < 5 * DocumentReader::kPartBytes; ++i)
    text += concat("line ", i, "\n");
  for (const Separator separator : {Separator::blank_line, Separator::file}) {
    const Documents parts = read({text + "\n\n", "x"}, separator);
    ASSERT_GE(parts.size(), 5u);
    EXPECT_EQ(parts.back(), "x");
    std::string joined;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const bool last = i + 2 == parts.size();
      EXPECT_EQ(parts[i].ends_with("\n+"), !last);
      EXPECT_LT(parts[i].size(), DocumentReader::kPartBytes + 20);
      joined += last ? parts[i] : parts[i].substr(0, parts[i].size() - 1);
    }
    EXPECT_TRUE(joined + "\n" == text);
  }
}

TEST_F(DocumentReaderTest, AHugeLineIsOneDocumentInParts) {
  const std::string huge(3 << 20, 'x');
  const Documents parts = read({huge + "\nb\n"}, Separator::line);
  ASSERT_EQ(parts.size(), 4u);
  EXPECT_EQ(parts[3], "b");
  size_t bytes = 0;
  for (int i = 0; i < 3; ++i) bytes += parts[static_cast<size_t>(i)].size();
  EXPECT_EQ(bytes, huge.size() + 2);
  EXPECT_TRUE(parts[0].ends_with('+') && parts[1].ends_with('+') && parts[2].ends_with('x'));
}

TEST_F(DocumentReaderTest, Refusals) {
  EXPECT_THROW(separator_from_name("paragraph"), ValueError);
  DocumentReader missing({folder_ / "no.txt"}, Separator::line, text::InvalidUtf8::refuse);
  Document document;
  EXPECT_THROW(missing.next(document), FileError);
}

}  // namespace
}  // namespace msltx::data
