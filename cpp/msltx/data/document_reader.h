// DocumentReader: text files as a stream of documents, in constant memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "msltx/base/file.h"
#include "msltx/text/text_blocks.h"
#include "msltx/text/utf8.h"

namespace msltx::data {

// What stands between two documents. A file always ends one.
enum class Separator : uint8_t {
  blank_line,  // a line of nothing but spaces, tabs and a carriage return
  line,        // every line is a document (BookCorpus)
  file,        // every file is one
};

Separator separator_from_name(std::string_view name);  // throws ValueError
std::string_view name_of(Separator separator);

// A document, or a part of a long one.
struct Document {
  std::string text;  // valid UTF-8, without the separator
  bool ends = true;  // false: the document goes on in the next one
};

class DocumentReader {
 public:
  // A document longer than this is handed out in parts, cut after a line feed where there is one:
  // it bounds the memory, and a book in one piece still gives training and validation text.
  static constexpr size_t kPartBytes = 1 << 16;

  DocumentReader(std::vector<Path> files, Separator separator, text::InvalidUtf8 invalid);

  // Replaces `document` with the next one that has text; false at the end. Throws FileError (see
  // TextBlocks).
  bool next(Document& document);

  int64_t bytes_read() const;   // of the files, up to the block under way
  int64_t bytes_total() const;  // of the files that have a size

 private:
  bool next_line(std::string_view& line);
  bool finish(Document& document);
  void cut(Document& document, std::string_view line);

  std::vector<Path> files_;
  Separator separator_;
  text::InvalidUtf8 invalid_;
  size_t next_file_ = 0;
  std::optional<text::TextBlocks> source_;
  std::string block_;
  size_t at_ = 0;            // in block_
  bool line_begins_ = true;  // at_ stands at the beginning of a line
  std::string text_;         // of the document under way
  bool continues_ = false;   // a part of that document has been handed out
  bool ended_ = false;       // that document ends here
  int64_t bytes_before_ = 0, bytes_total_ = 0;
};

}  // namespace msltx::data
