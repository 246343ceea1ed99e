#include "msltx/data/json_lines.h"

#include <nlohmann/json.hpp>

namespace msltx::data {
namespace {

// Listens to a record and keeps one field; nothing else of it is ever stored.
class FieldListener : public nlohmann::json_sax<nlohmann::json> {
 public:
  FieldListener(std::string_view field, std::string& out) : field_(field), out_(out) {}

  bool found() const { return found_; }

  bool null() override { return value(); }
  bool boolean(bool) override { return value(); }
  bool number_integer(number_integer_t) override { return value(); }
  bool number_unsigned(number_unsigned_t) override { return value(); }
  bool number_float(number_float_t, const string_t&) override { return value(); }
  bool binary(binary_t&) override { return value(); }
  bool string(string_t& text) override {
    if (!value()) return false;
    if (wanted_ && depth_ == 1) {
      out_.swap(text);
      found_ = true;
    }
    return true;
  }
  bool start_object(size_t) override {
    value();
    ++depth_;
    return true;
  }
  bool end_object() override {
    --depth_;
    return true;
  }
  bool start_array(size_t) override {
    if (!value()) return false;
    ++depth_;
    return true;
  }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool key(string_t& name) override {
    if (depth_ == 1) wanted_ = name == field_;
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

 private:
  // A value begins. False outside an object: the line is no record. A value of another kind takes
  // the place of a text that the same field had before.
  bool value() {
    if (depth_ == 1 && wanted_) found_ = false;
    return depth_ > 0;
  }

  std::string_view field_;
  std::string& out_;
  int64_t depth_ = 0;
  bool wanted_ = false;  // the key that came last at the top is the field
  bool found_ = false;
};

}  // namespace

bool is_json_lines(const std::filesystem::path& path) {
  std::filesystem::path name = path.filename();
  if (name.extension() == ".gz" || name.extension() == ".zst") name = name.stem();
  return name.extension() == ".jsonl" || name.extension() == ".ndjson";
}

bool read_json_field(std::string_view line, std::string_view field, std::string& out) {
  FieldListener listener(field, out);
  return nlohmann::json::sax_parse(line.begin(), line.end(), &listener) && listener.found();
}

}  // namespace msltx::data
