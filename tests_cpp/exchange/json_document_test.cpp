#include "msltx/exchange/json_document.h"

#include <gtest/gtest.h>

#include "exchange/scratch_folder.h"

namespace msltx::exchange {
namespace {

using nlohmann::json;

class JsonDocument : public ScratchFolder {
 protected:
  std::string refusal(std::string_view text) {
    const Path path = folder_ / "d.json";
    write_file(path, text);
    const std::string whole = message_of([&] { read_json_document(path, "msltx-x", 2); });
    return whole.starts_with(path.string() + ": ") ? whole.substr(path.string().size() + 2) : whole;
  }
};

TEST_F(JsonDocument, ThereAndBack) {
  const json fields = {{"a", 1}, {"b", {{"c", "d"}}}};
  write_json_document(folder_ / "d.json", "msltx-x", 2, fields);
  EXPECT_EQ(read_json_document(folder_ / "d.json", "msltx-x", 2), fields);
  EXPECT_EQ(read_json_document(folder_ / "d.json", "msltx-x", 3), fields);
  EXPECT_EQ(read_file(folder_ / "d.json").substr(0, 41),
            "{\n  \"format\": \"msltx-x\",\n  \"version\": 2,\n");
}

TEST_F(JsonDocument, Refusals) {
  EXPECT_EQ(refusal("{\"format\": \"msltx-x\", \"version\": 3}"),
            "version is 3, newer than this msltx reads (2)");
  EXPECT_EQ(refusal("{\"format\": \"msltx-x\", \"version\": 0}"),
            "version is 0; it must be an integer from 1 to 2");
  EXPECT_EQ(refusal("{\"format\": \"msltx-x\"}"),
            "version is missing; it must be an integer from 1 to 2");
  EXPECT_EQ(refusal("{\"format\": \"y\", \"version\": 1}"),
            "format is \"y\"; it must be \"msltx-x\"");
  EXPECT_EQ(refusal("{\"vocab_size\": 5}"), "format is missing; it must be \"msltx-x\"");
  EXPECT_EQ(refusal("[]"), "not an object with a format and a version");
  EXPECT_EQ(refusal(""), "not JSON from byte 1 on: truncated, damaged or a foreign file");
  EXPECT_EQ(refusal("{\"format\": \"msltx-x\", \"vers"),
            "not JSON from byte 28 on: truncated, damaged or a foreign file");
  EXPECT_EQ(refusal("{\"format\": \"msltx-x\", \"version\": 1, \"a\": 1, \"a\": 2}"),
            "the name a occurs twice");
  EXPECT_EQ(refusal(std::string(100000, '[')), "JSON nested deeper than 64 levels");
  EXPECT_NE(
      message_of([&] { read_json_document(folder_ / "none", "msltx-x", 2); }).find("No such file"),
      std::string::npos);
}

}  // namespace
}  // namespace msltx::exchange
