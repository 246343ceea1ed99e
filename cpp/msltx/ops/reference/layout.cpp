// Transposition: out (C, M) from x (M, C), out[c, m] = x[m, c].
#include "msltx/ops/reference/loops.h"
#include "msltx/ops/reference/reference.h"
#include "msltx/ops/stream.h"

namespace msltx::ops {
namespace {

void transpose(Stream& stream, const Transpose& op) {
  stream.parallel_for(op.x.dim(1), [&](int64_t c, int) {
    for (int64_t m = 0; m < op.x.dim(0); ++m) row(op.out, c)[m] = row(op.x, m)[c];
  });
}

}  // namespace

void ReferenceBackend::add_layout() { add<transpose>(); }

}  // namespace msltx::ops
