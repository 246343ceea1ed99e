#include "msltx/data/document_reader.h"

#include <gtest/gtest.h>

#include "text/temporary_folder.h"

namespace msltx::data {
namespace {

class DocumentReaderTest : public TemporaryFolderTest {
 protected:
  // Documents as text; one that goes on in the next has "+" after it.
  std::vector<std::string> read(const std::vector<std::string>& contents, Separator separator) {
    return read(contents, ReadOptions{.documents = separator});
  }
  std::vector<std::string> read(const std::vector<std::string>& contents,
                                const ReadOptions& options, const char* suffix = ".txt") {
    std::vector<Path> files;
    int64_t bytes = 0;
    for (const std::string& content : contents) {
      files.push_back(file(concat("f", files.size(), suffix), content));
      bytes += static_cast<int64_t>(content.size());
    }
    DocumentReader reader(files, options);
    std::vector<std::string> documents;
    for (Document document; reader.next(document);) {
      documents.push_back(document.text + (document.ends ? "" : "+"));
    }
    EXPECT_EQ(reader.bytes_read(), bytes);
    EXPECT_EQ(reader.bytes_total(), bytes);
    counts_ = reader.counts();
    return documents;
  }
  text::InvalidCounts counts_;
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

TEST_F(DocumentReaderTest, AGivenText) {
  const auto split = [&](const std::string& text, const std::string& separator) {
    return read({text}, {.documents = Separator::text, .separator = separator});
  };
  EXPECT_EQ(split("one\n<|end|>\ntwo\n\nlines\n<|end|>three<|end|>", "<|end|>"),
            (Documents{"one", "two\n\nlines", "three"}));
  EXPECT_EQ(split("a\n\nb\n\n\nc", "\n\n\n"), (Documents{"a\n\nb", "c"}));
  EXPECT_EQ(split("aXXbXXXc", "XX"), (Documents{"a", "b", "Xc"}));
  EXPECT_EQ(split("", "x"), Documents{});
  EXPECT_EQ(split("<|end|><|end|>\n", "<|end|>"), Documents{});
}

// Wherever the separator falls: at the end of a block of reading, at the end of a part.
TEST_F(DocumentReaderTest, AGivenTextIsFoundAcrossBlocksAndParts) {
  const std::string separator = "<|\n|>";
  for (const size_t around : {size_t{text::TextBlocks::kBlockBytes}, DocumentReader::kPartBytes}) {
    for (size_t before = around - 7; before < around + 3; ++before) {
      for (const bool lines : {false, true}) {
        std::string first(before, 'a');
        for (size_t i = 99; lines && i + 20 < first.size(); i += 100) first[i] = '\n';
        const Documents got =
            read({first + separator + "b"}, {.documents = Separator::text, .separator = separator});
        ASSERT_EQ(got.back(), "b") << before;
        std::string joined;
        for (size_t i = 0; i + 1 < got.size(); ++i) {
          joined += got[i].substr(0, got[i].size() - (got[i].ends_with('+') ? 1 : 0));
        }
        ASSERT_TRUE(joined == first) << before << " " << joined.size();
      }
    }
  }
}

TEST_F(DocumentReaderTest, JsonLines) {
  const std::string records =
      R"({"id": 1, "text": "a\nb\n", "meta": {"text": "inner", "list": [1, {"text": 2}]}})"
      "\n\n"
      R"({"text": "caf\u00e9 \ud83d\ude00"})"
      "\r\n"
      R"({"text": ""})"
      "\n"
      R"({"text": "last", "x": null})";
  const Documents expected{"a\nb", "caf\u00e9 \U0001f600", "last"};
  EXPECT_EQ(read({records}, {.documents = Separator::record}), expected);
  EXPECT_EQ(read({records}, {}, ".jsonl"), expected);  // the name tells
  EXPECT_EQ(read({R"({"body": "x", "text": "y"})"}, {.field = "body"}, ".ndjson"), Documents{"x"});
  for (const char* bad : {"[1]", "{\"other\": \"x\"}", "{\"text\": 5}", "{\"text\": \"x\"} y",
                          "{\"text\": \"x\", \"text\": 5}", "\"text\"", "{\"text\": \"x\"",
                          "{\"meta\": {\"text\": \"x\"}}", "{\"text\": \"\\ud800\"}", "text"}) {
    const auto message =
        message_of<FileError>([&] { read({concat("{\"text\": \"x\"}\n", bad)}, {}, ".jsonl"); });
    EXPECT_NE(message.find("f0.jsonl, line 2, is no JSON object with a text \"text\""),
              std::string::npos)
        << bad << ": " << message;
  }
}

TEST_F(DocumentReaderTest, ALongRecordComesInParts) {
  std::string text;
  while (text.size() < 3 * DocumentReader::kPartBytes) text += "0123456789 abcdefgh\\n";
  const Documents parts = read({"{\"text\": \"" + text + "\"}\n{\"text\": \"x\"}"}, {}, ".jsonl");
  ASSERT_GE(parts.size(), 3u);
  EXPECT_EQ(parts.back(), "x");
  EXPECT_TRUE(parts[0].ends_with("\n+"));
  EXPECT_FALSE(parts[parts.size() - 2].ends_with('+'));
}

TEST_F(DocumentReaderTest, InvalidUtf8) {
  const std::string text = "good\n\nb\xff\xfe d\n\nfine\n";
  const auto options = [](text::InvalidUtf8 invalid) {
    return ReadOptions{.invalid_utf8 = invalid};
  };
  EXPECT_EQ(read({text}, options(text::InvalidUtf8::skip)), (Documents{"good", "fine"}));
  EXPECT_EQ(counts_.skipped, 1);
  EXPECT_EQ(read({text}, options(text::InvalidUtf8::replace)),
            (Documents{"good", "b\ufffd\ufffd d", "fine"}));
  EXPECT_EQ(counts_.replaced, 2);
  const auto message =
      message_of<FileError>([&] { read({text}, options(text::InvalidUtf8::refuse)); });
  EXPECT_NE(message.find("f0.txt has invalid UTF-8 at byte 7 (0xff)"), std::string::npos);
  const std::string records = "{\"text\": \"a\"}\n{\"text\": \"\xff\"}\n{\"text\": \"b\"}\n";
  EXPECT_EQ(read({records}, options(text::InvalidUtf8::skip), ".jsonl"), (Documents{"a", "b"}));
  EXPECT_EQ(counts_.skipped, 1);
  EXPECT_EQ(read({records}, options(text::InvalidUtf8::replace), ".jsonl"),
            (Documents{"a", "\ufffd", "b"}));
}

// Of a long document only the part with the broken bytes goes; that it ends is still told.
TEST_F(DocumentReaderTest, SkippingTheEndOfALongDocumentLeavesAnEnd) {
  std::string text;
  while (text.size() < DocumentReader::kPartBytes + 100) text += "a line of text\n";
  const Documents got = read({text + "\xff\n\nnext"}, {.invalid_utf8 = text::InvalidUtf8::skip});
  ASSERT_EQ(got.size(), 3u);
  EXPECT_TRUE(got[0].ends_with("\n+"));
  EXPECT_EQ(got[1], "");
  EXPECT_EQ(got[2], "next");
}

TEST_F(DocumentReaderTest, Refusals) {
  EXPECT_EQ(message_of<ValueError>([&] { DocumentReader({}, {.documents = Separator::text}); }),
            "separator is empty; documents=text takes the text between documents");
  EXPECT_EQ(message_of<ValueError>([&] { DocumentReader({}, {.separator = "x"}); }),
            "separator is given, but documents is blank_line; it goes with text");
  EXPECT_THROW(DocumentReader({}, {.field = ""}), ValueError);
  EXPECT_THROW(separator_from_name("paragraph"), ValueError);
  DocumentReader missing({folder_ / "no.txt"}, {.documents = Separator::line});
  Document document;
  EXPECT_THROW(missing.next(document), FileError);
}

}  // namespace
}  // namespace msltx::data
