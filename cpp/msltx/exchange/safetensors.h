// The safetensors container: 8 bytes N (little-endian), N bytes of JSON header, then the tensors'
// bytes one after the other. Reads every file of the format's public description; writes through
// AtomicFile with the data at a multiple of 64. Knows nothing of models: names and shapes are its
// caller's.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "msltx/base/arena.h"
#include "msltx/base/file.h"
#include "msltx/base/tensor.h"

namespace msltx::exchange {

using NamedTensor = std::pair<std::string, Tensor>;
using Metadata = std::map<std::string, std::string>;

// Writes contiguous host tensors, those of wider types first (so that each is aligned to its type)
// and otherwise in the order given. Only the header is held in memory.
void write_safetensors(const Path& path, std::span<const NamedTensor> tensors,
                       const Metadata& metadata);

// What the header says of one tensor; `begin` and `end` are bytes from the start of the data.
struct StoredTensor {
  std::string name, dtype;
  std::vector<int64_t> shape;
  int64_t begin = 0, end = 0;
};

// A mapped file. Opening checks the whole header against the file's size; nothing of the data is
// read before it is used, except tensors that a foreign file left unaligned: they are copied.
class SafetensorsFile {
 public:
  SafetensorsFile() = default;
  explicit SafetensorsFile(const Path& path);

  const Path& path() const { return map_.path(); }
  const Metadata& metadata() const { return metadata_; }
  const std::vector<StoredTensor>& tensors() const { return tensors_; }  // in file order
  std::vector<std::string> names() const;
  bool has(std::string_view name) const { return places_.contains(name); }
  // A read-only view, valid while this object lives. FileError where there is no such tensor, or
  // its type or rank is none of msltx.
  Tensor tensor(std::string_view name) const;

 private:
  void check_layout() const;
  void copy_unaligned();

  MappedFile map_;
  int64_t data_begin_ = 0;
  Metadata metadata_;
  std::vector<StoredTensor> tensors_;
  std::map<std::string, size_t, std::less<>> places_;  // name to index in tensors_
  Arena copies_;
  std::map<size_t, Tensor> copied_;
};

}  // namespace msltx::exchange
