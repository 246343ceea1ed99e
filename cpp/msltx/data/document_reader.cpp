#include "msltx/data/document_reader.h"

#include <algorithm>
#include <array>
#include <utility>

#include "msltx/base/error.h"
#include "msltx/data/json_lines.h"

namespace msltx::data {
namespace {

// Blank lines go with the part before them, up to this size.
constexpr size_t kMostBytes = size_t{1} << 24;

constexpr std::array<std::string_view, 5> kNames{"blank_line", "line", "file", "text", "record"};

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

// How many bytes at the end of `text` could begin `separator`.
size_t begun(std::string_view text, std::string_view separator) {
  for (size_t n = std::min(text.size(), separator.size() - 1); n > 0; --n) {
    if (separator.starts_with(text.substr(text.size() - n))) return n;
  }
  return 0;
}

}  // namespace

Separator separator_from_name(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<Separator>(i);
  }
  throw ValueError(
      concat("documents is ", name, "; it takes blank_line, line, file, text or record"));
}

std::string_view name_of(Separator separator) { return kNames[static_cast<size_t>(separator)]; }

void check(const ReadOptions& options) {
  if ((options.documents == Separator::text) != !options.separator.empty()) {
    throw ValueError(options.separator.empty()
                         ? "separator is empty; documents=text takes the text between documents"
                         : concat("separator is given, but documents is ",
                                  name_of(options.documents), "; it goes with text"));
  }
  if (options.field.empty()) throw ValueError("field is empty; it takes the name of a field");
}

DocumentReader::DocumentReader(std::vector<Path> files, ReadOptions options)
    : files_(std::move(files)), options_(std::move(options)) {
  check(options_);
  for (const Path& file : files_) bytes_total_ += text::size_on_disk(file);
}

int64_t DocumentReader::bytes_read() const {
  return bytes_before_ + (source_ ? source_->bytes_read() : 0);
}

int64_t DocumentReader::bytes_total() const { return bytes_total_; }

text::InvalidCounts DocumentReader::counts() const {
  text::InvalidCounts sum = counts_;
  if (source_) sum += source_->counts();
  return sum;
}

void DocumentReader::open_next() {
  const Path& file = files_[next_file_++];
  const bool skip = options_.invalid_utf8 == text::InvalidUtf8::skip;
  source_.emplace(file, skip ? text::InvalidUtf8::keep : options_.invalid_utf8);
  rule_ = is_json_lines(file) ? Separator::record : options_.documents;
  block_.clear();
  at_ = 0;
  line_ = 0;
  line_begins_ = true;
}

void DocumentReader::close() {
  bytes_before_ += source_->bytes_read();
  counts_ += source_->counts();
  if (rule_ == Separator::record && !text_.empty()) read_record();
  source_.reset();
}

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
  if (rule_ == Separator::text && !continues_) text_.erase(0, text_.find_first_not_of("\r\n"));
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

// True when that made a part of a long document.
bool DocumentReader::add_line(Document& document, std::string_view line) {
  const bool whole_line = line_begins_ && line.ends_with('\n');
  line_begins_ = line.ends_with('\n');
  if (rule_ == Separator::blank_line && whole_line && is_blank(line)) {
    ended_ = true;
    return false;
  }
  ended_ = rule_ == Separator::line && line_begins_;
  if (text_.size() >= (is_blank(line) ? kMostBytes : kPartBytes)) {
    cut(document, line);
    return true;
  }
  text_ += line;
  return false;
}

bool DocumentReader::add_text(Document& document, std::string_view piece) {
  const std::string_view separator = options_.separator;
  const size_t before = text_.size();
  text_ += piece;
  const size_t found = text_.find(separator, before - std::min(before, separator.size() - 1));
  if (found != std::string::npos) {
    at_ -= text_.size() - (found + separator.size());  // what follows is read again
    text_.resize(found);
    ended_ = true;
    return false;
  }
  if (before < (is_blank(piece) ? kMostBytes : kPartBytes)) return false;
  // The separator may have begun before this piece.
  const size_t end = std::min(before, text_.size() - begun(text_, separator));
  document.text.assign(text_, 0, end);
  document.ends = false;
  text_.erase(0, end);
  continues_ = true;
  return true;
}

void DocumentReader::add_record(std::string_view piece) {
  if (text_.size() + piece.size() > kRecordBytes) {
    throw FileError(concat(source_->name(), ", line ", line_ + 1, ", has more than ", kRecordBytes,
                           " bytes, the most that a record may have"));
  }
  text_ += piece;
  if (piece.ends_with('\n')) read_record();
}

void DocumentReader::read_record() {
  ++line_;
  if (is_blank(text_)) return text_.clear();
  // A line that is not UTF-8 is no JSON either; it must be skipped before it is refused for that.
  if (options_.invalid_utf8 == text::InvalidUtf8::skip &&
      text::find_invalid_utf8(text_) != text::kValid) {
    ++counts_.skipped;
    return text_.clear();
  }
  std::string field;
  if (!read_json_field(text_, options_.field, field)) {
    throw FileError(concat(source_->name(), ", line ", line_, ", is no JSON object with a text \"",
                           options_.field, "\""));
  }
  text_.clear();
  parts_.set(std::move(field));
}

bool DocumentReader::advance(Document& document) {
  for (;;) {
    if (parts_.next(document)) return true;
    if (ended_) {  // the document under way, which a part was cut from last time
      ended_ = false;
      if (finish(document)) return true;
    }
    if (!source_) {
      if (next_file_ == files_.size()) return false;
      open_next();
    }
    std::string_view line;
    if (!next_line(line)) {
      close();
      ended_ = rule_ != Separator::record;
    } else if (rule_ == Separator::record) {
      add_record(line);
    } else if (rule_ == Separator::text ? add_text(document, line) : add_line(document, line)) {
      return true;
    }
  }
}

bool DocumentReader::next(Document& document) {
  while (advance(document)) {
    const bool left_out = options_.invalid_utf8 == text::InvalidUtf8::skip &&
                          text::find_invalid_utf8(document.text) != text::kValid;
    if (left_out) {
      ++counts_.skipped;
      if (!document.ends || !part_handed_) continue;
      document.text.clear();
    }
    part_handed_ = !document.ends;
    return true;
  }
  return false;
}

}  // namespace msltx::data
