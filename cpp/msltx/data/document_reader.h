// DocumentReader: text files as a stream of documents, in constant memory. Files may be compressed;
// "-" is standard input.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "msltx/base/file.h"
#include "msltx/data/document_source.h"
#include "msltx/text/text_blocks.h"
#include "msltx/text/utf8.h"

namespace msltx::data {

// What stands between two documents. A file always ends one.
enum class Separator : uint8_t {
  blank_line,  // a line of nothing but spaces, tabs and a carriage return
  line,        // every line is a document (BookCorpus)
  file,        // every file is one
  text,        // a given string, wherever it stands; line ends around it go
  record,      // every line is a JSON object, one of its fields the document
};

Separator separator_from_name(std::string_view name);  // throws ValueError
std::string_view name_of(Separator separator);

struct ReadOptions {
  // Files whose name says that they are JSON lines are read as records whatever this says.
  Separator documents = Separator::blank_line;
  std::string separator;       // of Separator::text
  std::string field = "text";  // of records
  text::InvalidUtf8 invalid_utf8 = text::InvalidUtf8::refuse;
};

void check(const ReadOptions& options);  // throws ValueError

class DocumentReader : public DocumentSource {
 public:
  // A document longer than this is handed out in parts (see DocumentParts).
  static constexpr size_t kPartBytes = DocumentParts::kPartBytes;
  // A record longer than this is refused: it would have to be held as a whole.
  static constexpr size_t kRecordBytes = size_t{1} << 28;

  // Throws ValueError for options that do not go together.
  DocumentReader(std::vector<Path> files, ReadOptions options);

  // Throws FileError (see TextBlocks), and for a line that is not the record it should be. Under
  // InvalidUtf8::skip a document, or a part of a long one, that is not UTF-8 is left out; where a
  // document's last part is, an empty one stands for it.
  bool next(Document& document) override;

  int64_t bytes_read() const override;   // of the files, up to the block under way
  int64_t bytes_total() const override;  // of the files that have a size
  text::InvalidCounts counts() const override;

 private:
  bool advance(Document& document);
  void open_next();
  void close();
  bool next_line(std::string_view& line);
  bool finish(Document& document);
  void cut(Document& document, std::string_view line);
  bool add_line(Document& document, std::string_view line);
  bool add_text(Document& document, std::string_view piece);
  void add_record(std::string_view piece);
  void read_record();

  std::vector<Path> files_;
  ReadOptions options_;
  size_t next_file_ = 0;
  std::optional<text::TextBlocks> source_;
  Separator rule_ = Separator::blank_line;  // of the file under way
  std::string block_;
  size_t at_ = 0;             // in block_
  bool line_begins_ = true;   // at_ stands at the beginning of a line
  int64_t line_ = 0;          // of the file under way, for messages
  std::string text_;          // of the document under way
  bool continues_ = false;    // a part of that document has been cut off
  bool ended_ = false;        // that document ends here
  DocumentParts parts_;       // of the record under way
  bool part_handed_ = false;  // the last one that next() gave goes on
  int64_t bytes_before_ = 0, bytes_total_ = 0;
  text::InvalidCounts counts_;
};

}  // namespace msltx::data
