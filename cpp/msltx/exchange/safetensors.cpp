#include "msltx/exchange/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "msltx/base/error.h"
#include "msltx/exchange/json_document.h"

namespace msltx::exchange {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr int64_t kLengthBytes = 8;
constexpr int64_t kDataAlignment = 64;           // as an Arena's
constexpr int64_t kLargestHeader = 100'000'000;  // bytes, the limit of the reference implementation
constexpr const char* kMetadata = "__metadata__";  // the one name that is no tensor

struct StoredType {
  std::string_view name;
  int64_t bytes;
  std::optional<DType> dtype;  // none: listed and checked, but not read
};
constexpr StoredType kTypes[] = {
    {"F32", 4, DType::float32},
    {"BF16", 2, DType::bfloat16},
    {"F16", 2, DType::float16},
    {"I32", 4, DType::int32},
    {"I8", 1, DType::int8},
    {"U8", 1, DType::uint8},
    {"BOOL", 1, {}},
    {"F8_E4M3", 1, {}},
    {"F8_E5M2", 1, {}},
    {"F8_E8M0", 1, {}},
    {"I16", 2, {}},
    {"U16", 2, {}},
    {"U32", 4, {}},
    {"I64", 8, {}},
    {"U64", 8, {}},
    {"F64", 8, {}},
    {"C64", 8, {}},
};

const StoredType* type_named(std::string_view name) {
  const auto it = std::find_if(std::begin(kTypes), std::end(kTypes),
                               [&](const StoredType& t) { return t.name == name; });
  return it == std::end(kTypes) ? nullptr : it;
}

std::string_view stored_name(DType dtype) {
  return std::find_if(std::begin(kTypes), std::end(kTypes),
                      [&](const StoredType& t) { return t.dtype == dtype; })
      ->name;
}

// ---- writing ----

std::string header_text(const std::vector<const NamedTensor*>& order, const Metadata& metadata) {
  std::string text = "{";
  if (!metadata.empty()) text += concat(json(kMetadata), ":", json(metadata));
  int64_t offset = 0;
  for (const NamedTensor* entry : order) {
    const Tensor& t = entry->second;
    const std::vector<int64_t> shape(t.shape.begin(), t.shape.begin() + t.rank);
    const json description = {{"dtype", stored_name(t.dtype)},
                              {"shape", shape},
                              {"data_offsets", {offset, offset + t.bytes()}}};
    text += concat(text.size() > 1 ? "," : "", json(entry->first), ":", description);
    offset += t.bytes();
  }
  text += "}";
  const auto used = (static_cast<int64_t>(text.size()) + kLengthBytes) % kDataAlignment;
  text.append(static_cast<size_t>((kDataAlignment - used) % kDataAlignment), ' ');
  return text;
}

void check_writable(const Path& path, std::span<const NamedTensor> tensors) {
  std::set<std::string_view> names;
  for (const auto& [name, tensor] : tensors) {
    const auto refuse = [&](const std::string& why) {
      throw ValueError(concat("cannot write tensor ", name, " to ", path.string(), ": ", why));
    };
    if (name.empty() || name == kMetadata) refuse("the name is empty or reserved");
    if (!names.insert(name).second) refuse("the name occurs twice");
    if (!tensor.contiguous()) refuse("it is not contiguous");
    if (tensor.buffer.memory != Memory::host) refuse("it is not in host memory");
  }
}

// ---- reading ----

// The header's pieces, each refused with the tensor's name where it is not what the format says.
class HeaderReader {
 public:
  explicit HeaderReader(const Path& path) : path_(path) {}

  Metadata metadata(const json& object) const {
    Metadata result;
    if (!object.is_object()) refuse(kMetadata, "is not an object");
    for (const auto& [name, value] : object.items()) {
      if (!value.is_string()) refuse(kMetadata, "has a value that is not a string");
      result.emplace(name, value.get<std::string>());
    }
    return result;
  }

  StoredTensor tensor(const std::string& name, const json& object) const {
    constexpr const char* kIncomplete = "lacks dtype, shape or data_offsets";
    if (!object.is_object() || !object.contains("dtype") || !object.contains("shape") ||
        !object.contains("data_offsets")) {
      refuse(name, kIncomplete);
    }
    const json &dtype = object["dtype"], &shape = object["shape"],
               &offsets = object["data_offsets"];
    if (!dtype.is_string() || !shape.is_array() || !offsets.is_array() || offsets.size() != 2) {
      refuse(name, kIncomplete);
    }
    StoredTensor stored{
        name, dtype.get<std::string>(), {}, size(name, offsets[0]), size(name, offsets[1])};
    for (const json& dimension : shape) stored.shape.push_back(size(name, dimension));
    check_bytes(stored);
    return stored;
  }

 private:
  [[noreturn]] void refuse(std::string_view name, const std::string& why) const {
    throw FileError(concat(path_.string(), ": tensor ", name, " ", why));
  }

  int64_t size(const std::string& name, const json& value) const {
    constexpr uint64_t kLargest = uint64_t{1} << 62;
    if (!value.is_number_unsigned() || value.get<uint64_t>() > kLargest) {
      refuse(name, "has a size or offset that is not an integer from 0 to 2^62");
    }
    return value.get<int64_t>();
  }

  void check_bytes(const StoredTensor& t) const {
    const StoredType* type = type_named(t.dtype);
    if (!type) refuse(t.name, concat("has the unknown dtype ", t.dtype));
    int64_t bytes = type->bytes;
    bool empty = false;  // even then the other dimensions, and so the strides, stay within 64 bits
    for (int64_t dimension : t.shape) {
      empty = empty || dimension == 0;
      if (dimension > 0 && __builtin_mul_overflow(bytes, dimension, &bytes)) {
        refuse(t.name, concat("has a shape of more than 2^63 bytes, ", to_string(t.shape)));
      }
    }
    if (empty) bytes = 0;
    if (t.end < t.begin || t.end - t.begin != bytes) {
      refuse(t.name, concat("takes ", bytes, " bytes by dtype and shape but spans offsets ",
                            t.begin, " to ", t.end));
    }
  }

  const Path& path_;
};

// The header's text, after its length has been held against the file's.
std::string_view header_of(const MappedFile& map) {
  const auto bytes = map.bytes();
  const auto size = static_cast<int64_t>(bytes.size());
  const auto refuse = [&](const std::string& why) {
    throw FileError(concat(map.path().string(), ": not a safetensors file, or truncated: ", why));
  };
  if (size < kLengthBytes) refuse(concat("it has ", size, " bytes"));
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > static_cast<uint64_t>(size - kLengthBytes)) {
    refuse(concat("its header would have ", length, " bytes and the file has ", size));
  }
  if (length > static_cast<uint64_t>(kLargestHeader)) {
    refuse(concat("its header would have ", length, " bytes; the limit is ", kLargestHeader));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, length);
  if (text.empty() || text.front() != '{') refuse("its header is no JSON object");
  return text;
}

}  // namespace

void write_safetensors(const Path& path, std::span<const NamedTensor> tensors,
                       const Metadata& metadata) {
  check_writable(path, tensors);
  std::vector<const NamedTensor*> order;
  for (const NamedTensor& entry : tensors) order.push_back(&entry);
  std::stable_sort(order.begin(), order.end(), [](const NamedTensor* a, const NamedTensor* b) {
    return size_of(a->second.dtype) > size_of(b->second.dtype);
  });
  std::string header;
  try {
    header = header_text(order, metadata);
  } catch (const json::type_error&) {
    throw ValueError(concat("cannot write ", path.string(), ": a name or metadata is not UTF-8"));
  }
  AtomicFile file(path);
  const auto length = static_cast<uint64_t>(header.size());
  file.write(&length, sizeof length);
  file.write(header);
  for (const NamedTensor* entry : order) {
    if (entry->second.size() > 0) file.write(entry->second.data<char>(), entry->second.bytes());
  }
  file.commit();
}

SafetensorsFile::SafetensorsFile(const Path& path) : map_(path) {
  const std::string_view header = header_of(map_);
  data_begin_ = kLengthBytes + static_cast<int64_t>(header.size());
  const HeaderReader reader(map_.path());
  const json parsed = parse_json(path, header);
  for (const auto& [name, value] : parsed.items()) {
    if (name == kMetadata) {
      metadata_ = reader.metadata(value);
    } else {
      tensors_.push_back(reader.tensor(name, value));
    }
  }
  std::sort(tensors_.begin(), tensors_.end(), [](const StoredTensor& a, const StoredTensor& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  check_layout();
  for (size_t i = 0; i < tensors_.size(); ++i) places_.emplace(tensors_[i].name, i);
  copy_unaligned();
}

// The tensors must cover the data from first to last byte, with no gap and no overlap.
void SafetensorsFile::check_layout() const {
  const int64_t present = static_cast<int64_t>(map_.bytes().size()) - data_begin_;
  int64_t at = 0;
  for (const StoredTensor& t : tensors_) {
    if (t.begin != at) {
      throw FileError(concat(path().string(), ": tensor ", t.name, " begins at byte ", t.begin,
                             " of the data, ", t.begin < at ? "inside" : "beyond",
                             " the end of the one before it, ", at));
    }
    at = t.end;
  }
  if (at != present) {
    throw FileError(concat(path().string(), ": ", at > present ? "truncated: " : "",
                           "the header describes ", at, " bytes of tensors and the file has ",
                           present));
  }
}

void SafetensorsFile::copy_unaligned() {
  std::vector<size_t> unaligned;
  int64_t bytes = 0;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const StoredTensor& t = tensors_[i];
    const StoredType* type = type_named(t.dtype);
    if (!type->dtype || t.shape.size() > Tensor::kMaxRank) continue;
    if ((data_begin_ + t.begin) % type->bytes == 0) continue;
    unaligned.push_back(i);
    bytes += Arena::aligned(t.end - t.begin);
  }
  copies_ = Arena(bytes);
  for (size_t i : unaligned) {
    const StoredTensor& t = tensors_[i];
    const Tensor copy = copies_.allocate(*type_named(t.dtype)->dtype, t.shape);
    if (copy.size() > 0) {
      std::memcpy(copy.data<char>(), map_.bytes().data() + data_begin_ + t.begin,
                  static_cast<size_t>(copy.bytes()));
    }
    copied_.emplace(i, copy);
  }
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> result;
  for (const StoredTensor& t : tensors_) result.push_back(t.name);
  return result;
}

Tensor SafetensorsFile::tensor(std::string_view name) const {
  const auto place = places_.find(name);
  if (place == places_.end()) {
    throw FileError(concat(path().string(), ": there is no tensor ", name));
  }
  const StoredTensor& t = tensors_[place->second];
  const auto dtype = type_named(t.dtype)->dtype;
  if (!dtype) {
    throw FileError(concat(path().string(), ": tensor ", name, " has dtype ", t.dtype,
                           "; msltx reads F32, BF16, F16, I32, I8 and U8"));
  }
  if (t.shape.size() > Tensor::kMaxRank) {
    throw FileError(concat(path().string(), ": tensor ", name, " has ", t.shape.size(),
                           " dimensions; msltx reads up to ", Tensor::kMaxRank));
  }
  if (const auto copy = copied_.find(place->second); copy != copied_.end()) return copy->second;
  // The map is read-only; Tensor has no const form.
  auto* base = const_cast<std::byte*>(map_.bytes().data());
  return Tensor::host(base + data_begin_ + t.begin, *dtype, t.shape);
}

}  // namespace msltx::exchange
