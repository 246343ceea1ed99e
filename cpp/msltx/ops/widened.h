// Widened: an op with bfloat16 tensors as the same op in float32, for kernels that know float32
// alone. Its inputs are widened into scratch, which is exact, and what it writes is rounded to
// nearest even from there. That is what bfloat16 means on the reference; a fast backend does so
// where the conversion costs little, or where the machine has no bfloat16 products.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "msltx/ops/backend.h"

namespace msltx::ops {

class Stream;

class Widened {
 public:
  Widened(const OpInfo& info, const void* op);

  // The op in float32. Shapes are right at once; the memory is there after place().
  const void* op() const { return storage_.data(); }
  int64_t bytes() const { return bytes_; }
  void place(std::byte* memory);

  void read(Stream& stream) const;   // what the op reads or updates, into float32
  void write(Stream& stream) const;  // what it wrote, back

 private:
  template <class Fn>
  void for_each_narrow(Fn&& fn) const;

  static constexpr size_t kLargestOp = 4096;
  const OpInfo& info_;
  const void* narrow_;
  alignas(std::max_align_t) std::array<std::byte, kLargestOp> storage_;
  int64_t bytes_ = 0;
};

// What an op takes of scratch, widening included where the kernel does not know its type.
ScratchNeed scratch_need(const Kernel& kernel, const OpInfo& info, const void* op);
bool is_widened(const Kernel& kernel, const OpInfo& info, const void* op);

}  // namespace msltx::ops
