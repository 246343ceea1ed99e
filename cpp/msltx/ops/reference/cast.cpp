// Conversion: out (N, C) from x (N, C), each float32 or bfloat16. A bfloat16 is the upper half of a
// float32, so that widening is exact; base/dtype.h has the rounding.
#include "msltx/ops/reference/reference.h"
#include "msltx/ops/stream.h"

namespace msltx::ops {
namespace {

template <class To, class From>
void cast_row(const Cast& op, int64_t n) {
  To* out = op.out.data<To>() + n * op.out.stride(0);
  const From* x = op.x.data<From>() + n * op.x.stride(0);
  for (int64_t c = 0; c < op.x.dim(1); ++c) out[c] = To(static_cast<float>(x[c]));
}

template <class To>
void cast_to(const Cast& op, int64_t n) {
  op.x.dtype == DType::bfloat16 ? cast_row<To, bfloat16>(op, n) : cast_row<To, float>(op, n);
}

void cast(Stream& stream, const Cast& op) {
  stream.parallel_for(op.x.dim(0), [&](int64_t n, int) {
    op.out.dtype == DType::bfloat16 ? cast_to<bfloat16>(op, n) : cast_to<float>(op, n);
  });
}

}  // namespace

void ReferenceBackend::add_cast() { add<cast>(true); }

}  // namespace msltx::ops
