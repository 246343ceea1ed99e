// Arena: one block of host memory, handed out front to back in 64-byte aligned pieces and freed
// whole.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>

#include "msltx/base/tensor.h"

namespace msltx {

class Arena {
 public:
  static constexpr int64_t kAlignment = 64;  // a cache line, and the widest vector register
  static constexpr int64_t aligned(int64_t bytes) {
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  }

  Arena() = default;
  // Reserves `bytes` of zeroed memory; pages become resident when first touched.
  explicit Arena(int64_t bytes);
  ~Arena();
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;

  // Throws ValueError when the arena has not enough left.
  Tensor allocate(DType dtype, std::span<const int64_t> shape);
  Tensor allocate(DType dtype, std::initializer_list<int64_t> shape) {
    return allocate(dtype, std::span(shape.begin(), shape.size()));
  }

  std::byte* data() const { return data_; }
  int64_t capacity() const { return capacity_; }
  int64_t used() const { return used_; }
  void reset() { used_ = 0; }

 private:
  std::byte* data_ = nullptr;
  int64_t capacity_ = 0;
  int64_t used_ = 0;
};

}  // namespace msltx
