// Dropout of x (B, T, C): out = x / (1 - p) where kept, else 0; d_x = d_out / (1 - p) where kept.
// What is kept follows from (seed, step, sequence, place) alone; the formula is in ops/dropout.h.
#include "msltx/base/philox.h"
#include "msltx/ops/reference/loops.h"
#include "msltx/ops/reference/reference.h"
#include "msltx/ops/stream.h"

namespace msltx::ops {
namespace {

template <class Op>
void drop(Stream& stream, const Op& op, const Tensor& out, const Tensor& x) {
  const int64_t T = x.dim(1), C = x.dim(2);
  const float scale = 1 / (1 - op.p);
  stream.parallel_for(x.dim(0) * T, [&](int64_t task, int) {
    const int64_t b = task / T, t = task % T;
    const int64_t sequence =
        op.sequences.defined() ? op.sequences.template data<int32_t>()[b] : op.first_sequence + b;
    for (int64_t c = 0; c < C; ++c) {
      const int64_t place = t * C + c;
      const Philox4 words = philox(static_cast<uint64_t>(op.seed), RandomStream::dropout,
                                   static_cast<uint32_t>(op.step), static_cast<uint32_t>(sequence),
                                   static_cast<uint32_t>(place / 4));
      const bool kept = uniform_float(words[static_cast<size_t>(place % 4)]) >= op.p;
      row(out, b, t)[c] = kept ? row(x, b, t)[c] * scale : 0.0f;
    }
  });
}

void dropout_forward(Stream& stream, const DropoutForward& op) { drop(stream, op, op.out, op.x); }

void dropout_backward(Stream& stream, const DropoutBackward& op) {
  drop(stream, op, op.d_x, op.d_out);
}

}  // namespace

void ReferenceBackend::add_dropout() {
  add<dropout_forward>();
  add<dropout_backward>();
}

}  // namespace msltx::ops
