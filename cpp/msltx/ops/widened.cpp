#include "msltx/ops/widened.h"

#include <algorithm>
#include <cstring>

#include "msltx/base/arena.h"
#include "msltx/base/error.h"
#include "msltx/ops/stream.h"

namespace msltx::ops {
namespace {

constexpr int64_t kTaskElements = 16384;

// fn(a row of `narrow`, the same row of `wide`), `wide` being contiguous.
template <class Fn>
void for_rows(Stream& stream, const Tensor& narrow, const Tensor& wide, Fn&& fn) {
  if (narrow.size() == 0) return;
  const int64_t length = narrow.dim(-1), rows = narrow.size() / length;
  const int64_t block = std::max<int64_t>(1, kTaskElements / length);
  stream.parallel_for((rows + block - 1) / block, [&](int64_t task, int) {
    for (int64_t r = task * block; r < std::min(rows, (task + 1) * block); ++r) {
      int64_t rest = r, offset = 0;
      for (int axis = narrow.rank - 2; axis >= 0; --axis) {
        offset += rest % narrow.dim(axis) * narrow.stride(axis);
        rest /= narrow.dim(axis);
      }
      fn(narrow.data<bfloat16>() + offset, wide.data() + r * length, length);
    }
  });
}

}  // namespace

// fn(field, the bfloat16 tensor, its place in the float32 op)
template <class Fn>
void Widened::for_each_narrow(Fn&& fn) const {
  for (const FieldInfo& field : info_.fields) {
    const Tensor& narrow = OpInfo::tensor(narrow_, field);
    if (narrow.defined() && narrow.dtype == DType::bfloat16) {
      fn(field, narrow, OpInfo::tensor(storage_.data(), field));
    }
  }
}

Widened::Widened(const OpInfo& info, const void* op) : info_(info), narrow_(op) {
  if (info.size > kLargestOp) {
    throw ValueError(concat(info.name, " takes ", info.size, " bytes; the limit is ", kLargestOp));
  }
  std::memcpy(storage_.data(), op, info.size);
  place(nullptr);
}

void Widened::place(std::byte* memory) {
  int64_t offset = 0;
  for_each_narrow([&](const FieldInfo& field, const Tensor& narrow, const Tensor&) {
    Tensor& wide = OpInfo::tensor(storage_.data(), field);
    wide = Tensor::host(memory ? memory + offset : narrow.buffer.handle, DType::float32,
                        std::span(narrow.shape.data(), static_cast<size_t>(narrow.rank)));
    offset += Arena::aligned(wide.bytes());
  });
  bytes_ = offset;
}

void Widened::read(Stream& stream) const {
  for_each_narrow([&](const FieldInfo& field, const Tensor& narrow, const Tensor& wide) {
    if (field.role == Role::writes) return;
    for_rows(stream, narrow, wide, [](const bfloat16* from, float* to, int64_t count) {
      for (int64_t i = 0; i < count; ++i) to[i] = static_cast<float>(from[i]);
    });
  });
}

void Widened::write(Stream& stream) const {
  for_each_narrow([&](const FieldInfo& field, const Tensor& narrow, const Tensor& wide) {
    if (field.role == Role::reads) return;
    for_rows(stream, narrow, wide, [](bfloat16* to, const float* from, int64_t count) {
      for (int64_t i = 0; i < count; ++i) to[i] = bfloat16(from[i]);
    });
  });
}

bool is_widened(const Kernel& kernel, const OpInfo& info, const void* op) {
  return !kernel.runs_bfloat16 && info.compute_type(op) == DType::bfloat16;
}

ScratchNeed scratch_need(const Kernel& kernel, const OpInfo& info, const void* op) {
  if (!is_widened(kernel, info, op)) return kernel.scratch ? kernel.scratch(op) : ScratchNeed{};
  const Widened wide(info, op);
  ScratchNeed need = kernel.scratch ? kernel.scratch(wide.op()) : ScratchNeed{};
  need.shared = Arena::aligned(need.shared) + wide.bytes();
  return need;
}

}  // namespace msltx::ops
