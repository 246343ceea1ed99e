#include "msltx/exchange/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "exchange/scratch_folder.h"
#include "msltx/base/philox.h"

namespace msltx::exchange {
namespace {

using nlohmann::json;

std::string file_text(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string text(reinterpret_cast<const char*>(&length), sizeof length);
  return text + header + data;
}

class Safetensors : public ScratchFolder {
 protected:
  // Opens a file of this content and reads every tensor of it; what is thrown, less the path.
  std::string refusal(std::string_view content) {
    const Path path = folder_ / "x.safetensors";
    write_file(path, content);
    const std::string whole = message_of([&] {
      const SafetensorsFile file(path);
      for (const auto& name : file.names()) sum_ += checksum(file.tensor(name));
    });
    return whole.starts_with(path.string() + ": ") ? whole.substr(path.string().size() + 2) : whole;
  }
  std::string refusal(const json& header, size_t bytes) {
    return refusal(file_text(header.dump(), std::string(bytes, 'x')));
  }
  static uint64_t checksum(const Tensor& t) {
    uint64_t sum = 0;
    for (int64_t i = 0; i < t.bytes(); ++i) sum += t.data<uint8_t>()[i];
    return sum;
  }

  uint64_t sum_ = 0;
};

TEST_F(Safetensors, ThereAndBack) {
  float floats[6] = {1, 2, 3, 4, 5, 6};
  int8_t bytes[3] = {-1, 0, 1};
  bfloat16 halves[2] = {bfloat16(1.5f), bfloat16(-2.0f)};
  int32_t one[1] = {7};
  const std::vector<NamedTensor> tensors = {
      {"bytes", Tensor::host(bytes, DType::int8, {3})},
      {"floats", Tensor::host(floats, DType::float32, {2, 3})},
      {"halves \"é\"", Tensor::host(halves, DType::bfloat16, {1, 2, 1})},
      {"scalar", Tensor::host(one, DType::int32, std::span<const int64_t>())},
      {"empty", Tensor::host(nullptr, DType::float32, {0, 4})}};
  const Path path = folder_ / "x.safetensors";
  write_safetensors(path, tensors, {{"format", "msltx"}, {"k", "v"}});

  const SafetensorsFile file(path);
  EXPECT_EQ(file.metadata(), (Metadata{{"format", "msltx"}, {"k", "v"}}));
  EXPECT_EQ(file.names(),
            (std::vector<std::string>{"floats", "scalar", "empty", "halves \"é\"", "bytes"}));
  const Tensor f = file.tensor("floats");
  EXPECT_EQ(to_string(f), "float32 (2, 3)");
  EXPECT_EQ(std::memcmp(f.data(), floats, sizeof floats), 0);
  EXPECT_EQ(std::memcmp(file.tensor("bytes").data(), bytes, sizeof bytes), 0);
  EXPECT_EQ(std::memcmp(file.tensor("halves \"é\"").data(), halves, sizeof halves), 0);
  EXPECT_EQ(*file.tensor("scalar").data<int32_t>(), 7);
  EXPECT_EQ(file.tensor("scalar").rank, 0);
  EXPECT_EQ(to_string(file.tensor("empty")), "float32 (0, 4)");
  EXPECT_TRUE(file.has("scalar"));
  EXPECT_FALSE(file.has("vector"));
  EXPECT_EQ(message_of([&] { file.tensor("vector"); }),
            path.string() + ": there is no tensor vector");
}

TEST_F(Safetensors, DataStartsAtAMultipleOf64AndHasNoGaps) {
  std::vector<float> numbers(40, 1.0f);
  for (size_t extra = 0; extra < 70; ++extra) {
    const std::vector<NamedTensor> tensors = {
        {std::string(extra + 1, 'x'), Tensor::host(numbers.data(), DType::float32, {3})},
        {"b", Tensor::host(numbers.data(), DType::float32, {5, 8})}};
    const Path path = folder_ / "x.safetensors";
    write_safetensors(path, tensors, {});
    const std::string text = read_file(path);
    uint64_t length = 0;
    std::memcpy(&length, text.data(), sizeof length);
    EXPECT_EQ((length + 8) % 64, 0u);
    EXPECT_EQ(text.size(), 8 + length + 43 * 4);
    EXPECT_EQ(
        reinterpret_cast<uintptr_t>(SafetensorsFile(path).tensor(tensors[0].first).data()) % 64,
        0u);
  }
}

TEST_F(Safetensors, MovedFileKeepsItsViews) {
  float x[2] = {3, 4};
  const std::vector<NamedTensor> tensors = {{"x", Tensor::host(x, DType::float32, {2})}};
  write_safetensors(folder_ / "x", tensors, {});
  SafetensorsFile first(folder_ / "x");
  const Tensor view = first.tensor("x");
  const SafetensorsFile second = std::move(first);
  EXPECT_EQ(view.data()[1], 4);
  EXPECT_EQ(second.tensor("x").data(), view.data());
}

TEST_F(Safetensors, WriterRefusals) {
  float x[4] = {};
  const Tensor t = Tensor::host(x, DType::float32, {2, 2});
  const auto refusal_of = [&](const std::vector<NamedTensor>& tensors) {
    const std::string text = message_of([&] { write_safetensors(folder_ / "w", tensors, {}); });
    EXPECT_FALSE(std::filesystem::exists(folder_ / "w"));
    return text.substr(0, text.find(" to /")) + text.substr(text.rfind(':'));
  };
  EXPECT_EQ(refusal_of({{"a", t}, {"a", t}}), "cannot write tensor a: the name occurs twice");
  EXPECT_EQ(refusal_of({{"a", t.swap_axes(0, 1)}}), "cannot write tensor a: it is not contiguous");
  EXPECT_EQ(refusal_of({{"__metadata__", t}}),
            "cannot write tensor __metadata__: the name is empty or reserved");
  EXPECT_NE(refusal_of({{"\xff", t}}).find("not UTF-8"), std::string::npos);
}

// A file that another program wrote, with data anywhere: the values are right and aligned.
TEST_F(Safetensors, UnalignedForeignFile) {
  const float x[2] = {1.25f, -8};
  std::string data = "abc";
  data.append(reinterpret_cast<const char*>(x), sizeof x);
  const json header = {{"bytes", {{"dtype", "U8"}, {"shape", {3}}, {"data_offsets", {0, 3}}}},
                       {"x", {{"dtype", "F32"}, {"shape", {2}}, {"data_offsets", {3, 11}}}}};
  write_file(folder_ / "f", file_text(header.dump(), data));
  const SafetensorsFile file(folder_ / "f");
  const Tensor t = file.tensor("x");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(t.data()) % alignof(float), 0u);
  EXPECT_EQ(t.data()[0], 1.25f);
  EXPECT_EQ(t.data()[1], -8);
  EXPECT_EQ(file.tensor("bytes").data<char>()[2], 'c');
}

json entry(const char* dtype, const json& shape, const json& offsets) {
  return {{"dtype", dtype}, {"shape", shape}, {"data_offsets", offsets}};
}

TEST_F(Safetensors, TypesAndRanksThatAreListedButNotRead) {
  const json header = {{"a", entry("I64", {1}, {0, 8})},
                       {"b", entry("U8", {1, 1, 1, 1, 1}, {8, 9})},
                       {"c", entry("U8", {2}, {9, 11})}};
  write_file(folder_ / "f", file_text(header.dump(), std::string(11, 'x')));
  const SafetensorsFile file(folder_ / "f");
  EXPECT_EQ(file.tensor("c").size(), 2);
  EXPECT_NE(message_of([&] {
              file.tensor("a");
            }).find("tensor a has dtype I64; msltx reads F32, BF16, F16, I32, I8 and U8"),
            std::string::npos);
  EXPECT_NE(message_of([&] { file.tensor("b"); }).find("tensor b has 5 dimensions"),
            std::string::npos);
}

TEST_F(Safetensors, DamageIsOneSentence) {
  const auto one = [](const json& tensor) { return json{{"a", tensor}}; };
  EXPECT_EQ(refusal(""), "not a safetensors file, or truncated: it has 0 bytes");
  EXPECT_EQ(refusal("PK\x03\x04....and more of a zip file").substr(0, 55),
            "not a safetensors file, or truncated: its header would ");
  EXPECT_EQ(refusal(file_text("[1, 2]", "")),
            "not a safetensors file, or truncated: its header is no JSON object");
  EXPECT_EQ(refusal(file_text("{\"a\":", "")),
            "not JSON from byte 6 on: truncated, damaged or a foreign file");
  EXPECT_EQ(refusal(one(entry("F32", {2}, {0, 8})), 8), "");
  EXPECT_EQ(refusal(one(entry("F32", {2}, {0, 8})), 7),
            "truncated: the header describes 8 bytes of tensors and the file has 7");
  EXPECT_EQ(refusal(one(entry("F32", {2}, {0, 8})), 9),
            "the header describes 8 bytes of tensors and the file has 9");
  EXPECT_EQ(refusal(one(entry("F32", {3}, {0, 8})), 8),
            "tensor a takes 12 bytes by dtype and shape but spans offsets 0 to 8");
  EXPECT_EQ(refusal(one(entry("F16", {2}, {0, 8})), 8),
            "tensor a takes 4 bytes by dtype and shape but spans offsets 0 to 8");
  EXPECT_EQ(refusal(one(entry("F33", {2}, {0, 8})), 8), "tensor a has the unknown dtype F33");
  EXPECT_EQ(refusal(one(entry("F32", {int64_t{1} << 62, int64_t{1} << 62}, {0, 8})), 8),
            "tensor a has a shape of more than 2^63 bytes, (4611686018427387904, "
            "4611686018427387904)");
  EXPECT_EQ(
      refusal(one(entry("F32", {0, int64_t{1} << 62, int64_t{1} << 62}, {0, 0})), 0).substr(0, 28),
      "tensor a has a shape of more");
  EXPECT_EQ(refusal(one(entry("F32", {-2}, {0, 8})), 8),
            "tensor a has a size or offset that is not an integer from 0 to 2^62");
  EXPECT_EQ(refusal(one(entry("F32", {2.0}, {0, 8})), 8),
            "tensor a has a size or offset that is not an integer from 0 to 2^62");
  EXPECT_EQ(refusal(one(entry("F32", {2}, {8, 0})), 8),
            "tensor a takes 8 bytes by dtype and shape but spans offsets 8 to 0");
  EXPECT_EQ(refusal(one(entry("F32", {2}, {4, 12})), 12),
            "tensor a begins at byte 4 of the data, beyond the end of the one before it, 0");
  EXPECT_EQ(refusal({{"a", entry("F32", {2}, {0, 8})}, {"b", entry("F32", {2}, {4, 12})}}, 12),
            "tensor b begins at byte 4 of the data, inside the end of the one before it, 8");
  EXPECT_EQ(refusal(one({{"dtype", "F32"}, {"shape", {2}}}), 8),
            "tensor a lacks dtype, shape or data_offsets");
  EXPECT_EQ(refusal(one(3), 8), "tensor a lacks dtype, shape or data_offsets");
  EXPECT_EQ(refusal({{"__metadata__", {{"k", 1}}}}, 0),
            "tensor __metadata__ has a value that is not a string");
  const std::string a = entry("U8", {1}, {0, 1}).dump();
  EXPECT_EQ(refusal(file_text(concat("{\"a\":", a, ",\"a\":", a, "}"), "x")),
            "the name a occurs twice");
}

TEST_F(Safetensors, HeaderLengthIsHeldAgainstTheFileBeforeMemoryIsAsked) {
  for (uint64_t length : {uint64_t{1} << 40, uint64_t{1} << 63, ~uint64_t{0}, ~uint64_t{0} - 7}) {
    std::string text(reinterpret_cast<const char*>(&length), sizeof length);
    EXPECT_EQ(refusal(text + "{}"),
              concat("not a safetensors file, or truncated: its header would have ", length,
                     " bytes and the file has 10"));
  }
}

// Truncations at every byte and thousands of random changes: a FileError or a file whose every
// tensor can be read, never a crash.
TEST_F(Safetensors, SurvivesDamageAnywhere) {
  float x[12] = {};
  const std::vector<NamedTensor> tensors = {{"x", Tensor::host(x, DType::float32, {3, 4})},
                                            {"y", Tensor::host(x, DType::bfloat16, {2})}};
  write_safetensors(folder_ / "good", tensors, {{"format", "msltx"}});
  const std::string good = read_file(folder_ / "good");
  for (size_t n = 0; n < good.size(); ++n) EXPECT_NE(refusal(good.substr(0, n)), "") << n;
  int refused = 0;
  for (uint32_t i = 0; i < 1000; ++i) {
    std::string bad = good;
    const Philox4 r = philox(1, RandomStream::sampling, 0, 0, i);
    for (uint32_t k = 0; k <= r[0] % 3; ++k) {
      const Philox4 change = philox(2, RandomStream::sampling, 0, i, k);
      bad[change[0] % bad.size()] = static_cast<char>(change[1]);
    }
    refused += refusal(bad).empty() ? 0 : 1;
  }
  EXPECT_GT(refused, 200);
}

}  // namespace
}  // namespace msltx::exchange
