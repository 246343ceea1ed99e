// DocumentSource: where documents come from, one after the other; and the parts of long ones.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "msltx/text/utf8.h"

namespace msltx::data {

// A document, or a part of a long one.
struct Document {
  std::string text;  // valid UTF-8, without the separator
  bool ends = true;  // false: the document goes on in the next one
};

class DocumentSource {
 public:
  virtual ~DocumentSource() = default;

  // Replaces `document` with the next one that has text; false at the end.
  virtual bool next(Document& document) = 0;

  virtual int64_t bytes_read() const = 0;   // of what it reads from, so far
  virtual int64_t bytes_total() const = 0;  // 0 where that is not known
  virtual text::InvalidCounts counts() const { return {}; }
};

// Sources one after the other.
class DocumentSequence : public DocumentSource {
 public:
  explicit DocumentSequence(std::vector<std::unique_ptr<DocumentSource>> sources)
      : sources_(std::move(sources)) {}

  bool next(Document& document) override {
    for (; at_ < sources_.size(); ++at_) {
      if (sources_[at_]->next(document)) return true;
    }
    return false;
  }
  int64_t bytes_read() const override {
    int64_t sum = 0;
    for (const auto& source : sources_) sum += source->bytes_read();
    return sum;
  }
  int64_t bytes_total() const override {
    int64_t sum = 0;
    for (const auto& source : sources_) sum += source->bytes_total();
    return sum;
  }
  text::InvalidCounts counts() const override {
    text::InvalidCounts sum;
    for (const auto& source : sources_) sum += source->counts();
    return sum;
  }

 private:
  std::vector<std::unique_ptr<DocumentSource>> sources_;
  size_t at_ = 0;
};

// A whole document handed out in parts of at least kPartBytes, cut after a line feed where there is
// one: they bound what encoding holds, and a book in one piece still gives training and validation
// text.
class DocumentParts {
 public:
  static constexpr size_t kPartBytes = 1 << 16;
  static constexpr size_t kMostBytes = 1 << 20;  // a part without a line feed

  // Begins with another document; line ends at its end do not count.
  void set(std::string text);
  bool next(Document& document);  // false when all is handed out

 private:
  std::string text_;
  size_t at_ = 0;
};

}  // namespace msltx::data
