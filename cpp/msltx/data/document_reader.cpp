#include "msltx/data/document_reader.h"

#include <utility>

#include "msltx/base/error.h"

namespace msltx::data {
namespace {

// Blank lines go with the part before them, up to this size.
constexpr size_t kMostBytes = size_t{1} << 24;

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

}  // namespace

Separator separator_from_name(std::string_view name) {
  for (const Separator s : {Separator::blank_line, Separator::line, Separator::file}) {
    if (name == name_of(s)) return s;
  }
  throw ValueError(concat("documents is ", name, "; it takes blank_line, line or file"));
}

std::string_view name_of(Separator separator) {
  switch (separator) {
    case Separator::blank_line:
      return "blank_line";
    case Separator::line:
      return "line";
    case Separator::file:
      return "file";
  }
  return "";
}

DocumentReader::DocumentReader(std::vector<Path> files, Separator separator,
                               text::InvalidUtf8 invalid)
    : files_(std::move(files)), separator_(separator), invalid_(invalid) {
  for (const Path& file : files_) {
    std::error_code unknown;
    const auto size = std::filesystem::file_size(file, unknown);
    if (!unknown) bytes_total_ += static_cast<int64_t>(size);
  }
}

int64_t DocumentReader::bytes_read() const {
  return bytes_before_ + (source_ ? source_->bytes_read() : 0);
}

int64_t DocumentReader::bytes_total() const { return bytes_total_; }

// The next line of the file under way with its line feed, or a part of a very long one; false at
// the file's end.
bool DocumentReader::next_line(std::string_view& line) {
  if (at_ == block_.size()) {
    at_ = 0;
    if (!source_->next(block_)) {
      block_.clear();
      return false;
    }
  }
  const size_t feed = block_.find('\n', at_);
  const size_t end = feed == std::string::npos ? block_.size() : feed + 1;
  line = std::string_view(block_).substr(at_, end - at_);
  at_ = end;
  return true;
}

// Ends the document under way and hands out what is left of it; false when it has no text.
bool DocumentReader::finish(Document& document) {
  while (text_.ends_with('\n') || text_.ends_with('\r')) text_.pop_back();
  const bool there = continues_ || !is_blank(text_);
  if (there) {
    document.text.swap(text_);
    document.ends = true;
  }
  text_.clear();
  continues_ = false;
  return there;
}

// The document under way becomes a part; what follows it begins with `line`.
void DocumentReader::cut(Document& document, std::string_view line) {
  document.text.swap(text_);
  document.ends = false;
  text_ = line;
  continues_ = true;
}

bool DocumentReader::next(Document& document) {
  for (;;) {
    if (ended_) {  // the document under way, which a part was cut from last time
      ended_ = false;
      if (finish(document)) return true;
    }
    if (!source_) {
      if (next_file_ == files_.size()) return false;
      source_.emplace(files_[next_file_++], invalid_);
      block_.clear();
      at_ = 0;
      line_begins_ = true;
    }
    std::string_view line;
    if (!next_line(line)) {
      bytes_before_ += source_->bytes_read();
      source_.reset();
      ended_ = true;
      continue;
    }
    const bool whole_line = line_begins_ && line.ends_with('\n');
    line_begins_ = line.ends_with('\n');
    if (separator_ == Separator::blank_line && whole_line && is_blank(line)) {
      ended_ = true;
      continue;
    }
    ended_ = separator_ == Separator::line && line_begins_;
    if (text_.size() >= (is_blank(line) ? kMostBytes : kPartBytes)) {
      cut(document, line);
      return true;
    }
    text_ += line;
  }
}

}  // namespace msltx::data
