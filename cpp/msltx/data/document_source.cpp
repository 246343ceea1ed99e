#include "msltx/data/document_source.h"

namespace msltx::data {

void DocumentParts::set(std::string text) {
  text_ = std::move(text);
  while (text_.ends_with('\n') || text_.ends_with('\r')) text_.pop_back();
  at_ = 0;
  // A text of nothing but white space is no document.
  if (text_.find_first_not_of(" \t\r\n") == std::string::npos) text_.clear();
}

bool DocumentParts::next(Document& document) {
  if (at_ == text_.size()) return false;
  size_t end = text_.size();
  if (end - at_ > kPartBytes) {
    const size_t feed = text_.find('\n', at_ + kPartBytes - 1);
    if (feed != std::string::npos) end = feed + 1;
    if (end - at_ > kMostBytes) {
      end = at_ + kMostBytes;
      // Not inside a character.
      while ((static_cast<unsigned char>(text_[end]) & 0xC0) == 0x80 && end > at_ + 1) --end;
    }
  }
  document.text.assign(text_, at_, end - at_);
  document.ends = end == text_.size();
  at_ = end;
  if (document.ends) {
    text_.clear();
    at_ = 0;
  }
  return true;
}

}  // namespace msltx::data
