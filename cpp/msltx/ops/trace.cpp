#include "msltx/ops/trace.h"

#include <cstring>

#include "msltx/ops/runs.h"

namespace msltx::ops {
namespace {

TracedTensor copy_of(const FieldInfo& field, const Tensor& t) {
  TracedTensor copy{&field, t.dtype, {t.shape.begin(), t.shape.begin() + t.rank}, {}};
  copy.values.resize(static_cast<size_t>(t.bytes()));
  std::byte* to = copy.values.data();
  for_each_run(t, [&](int64_t offset, int64_t count) {
    const auto bytes = static_cast<size_t>(count * size_of(t.dtype));
    std::memcpy(to, t.data<std::byte>() + offset * size_of(t.dtype), bytes);
    to += bytes;
  });
  return copy;
}

}  // namespace

void Tracer::before(const Encoding& encoding) {
  if (next_) next_->before(encoding);
  const auto* bytes = static_cast<const std::byte*>(encoding.op);
  TracedOp& traced = ops_.emplace_back(TracedOp{
      &encoding.info, std::string(encoding.scope), {bytes, bytes + encoding.info.size}, {}});
  if (!with_inputs_(encoding.info)) return;
  for (const FieldInfo& field : encoding.info.fields) {
    const Tensor& t = OpInfo::tensor(encoding.op, field);
    if (!field.is_output() && t.defined()) traced.tensors.push_back(copy_of(field, t));
  }
}

void Tracer::after(const Encoding& encoding) {
  for (const FieldInfo& field : encoding.info.fields) {
    const Tensor& t = OpInfo::tensor(encoding.op, field);
    if (field.is_output() && t.defined()) ops_.back().tensors.push_back(copy_of(field, t));
  }
  if (next_) next_->after(encoding);
}

}  // namespace msltx::ops
