// Tensor: a strided view of up to four dimensions onto a buffer that somebody else owns (an Arena,
// a NumPy array, a mapped file). Copying a Tensor copies the view.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "msltx/base/dtype.h"

namespace msltx {

// Where a buffer lives. Backends that compute in host memory share `host`; a device has its own.
enum class Memory : uint8_t { host };

struct Buffer {
  Memory memory = Memory::host;
  void* handle = nullptr;   // host: the address; a device: whatever its backend makes of it
  int64_t byte_offset = 0;  // of the view's first element from the handle
  int64_t byte_size = 0;    // of the whole allocation behind the handle
};

// A backend's private cache of one weight in other forms (packed, converted), kept beside the
// weight and rebuilt when the weight's version moves on. Declared here so that a Tensor can point
// at it; only backends look inside. See ops/weight.h.
struct Weight;

struct Tensor {
  static constexpr int kMaxRank = 4;

  Buffer buffer;
  DType dtype = DType::float32;
  int rank = 0;
  std::array<int64_t, kMaxRank> shape{};
  std::array<int64_t, kMaxRank> strides{};  // in elements; the last dimension's is 1
  Weight* weight = nullptr;                 // set on whole parameters only; views drop it

  // A contiguous view of `shape` onto host memory.
  static Tensor host(void* data, DType dtype, std::span<const int64_t> shape);
  static Tensor host(void* data, DType dtype, std::initializer_list<int64_t> shape) {
    return host(data, dtype, std::span(shape.begin(), shape.size()));
  }

  bool defined() const { return buffer.handle != nullptr; }
  int64_t size() const {  // in elements
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= shape[static_cast<size_t>(i)];
    return n;
  }
  int64_t bytes() const { return size() * size_of(dtype); }
  // axis < 0 counts from the last dimension
  int64_t dim(int axis) const { return shape[static_cast<size_t>(axis < 0 ? rank + axis : axis)]; }
  int64_t stride(int axis) const {
    return strides[static_cast<size_t>(axis < 0 ? rank + axis : axis)];
  }
  bool contiguous() const;

  // `count` entries of `axis` from `first` on.
  Tensor slice(int axis, int64_t first, int64_t count) const;
  // The first dimension cut: what a chunk of rows sees. An undefined tensor stays undefined.
  Tensor rows(int64_t first, int64_t count) const {
    return defined() ? slice(0, first, count) : Tensor{};
  }
  // The same elements under another shape; the tensor must be contiguous.
  Tensor reshape(std::initializer_list<int64_t> new_shape) const;
  // The same elements with two axes exchanged; the last axis stays last.
  Tensor swap_axes(int a, int b) const;

  // For kernels in host memory: the first element.
  template <class T = float>
  T* data() const {
    return reinterpret_cast<T*>(static_cast<char*>(buffer.handle) + buffer.byte_offset);
  }
};

std::string to_string(std::span<const int64_t> shape);  // "(2, 3)"
std::string to_string(const Tensor& tensor);            // "float32 (2, 3)"

}  // namespace msltx
