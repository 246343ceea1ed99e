// Rotary position embedding of x (B, nh, T, hs) by a table (S, hs) of cos, sin of each pair. The
// pair i is (x[2i], x[2i + 1]), or (x[i], x[i + hs/2]); row t of sequence b uses row offset_b + t.
//
//   out = (a cos - b sin, a sin + b cos),  d_x = (a cos + b sin, b cos - a sin)
//
// Every backward overwrites. A pair is read before it is written, so out may be x.
#include "msltx/ops/reference/loops.h"
#include "msltx/ops/reference/reference.h"
#include "msltx/ops/stream.h"

namespace msltx::ops {
namespace {

// `turn` is 1 forwards and -1 backwards.
template <class Op>
void rotate(Stream& stream, const Op& op, const Tensor& out, const Tensor& x, double turn) {
  const int64_t nh = x.dim(1), T = x.dim(2), pairs = x.dim(3) / 2;
  const bool split = op.layout == RopeLayout::half_split;
  stream.parallel_for(x.dim(0) * nh * T, [&](int64_t task, int) {
    const int64_t b = task / (nh * T), h = task / T % nh, t = task % T;
    const int64_t offset =
        op.offsets.defined() ? op.offsets.template data<int32_t>()[b] : op.offset;
    const float* angles = row(op.table, offset + t);
    const float* from = row(x, b, h, t);
    float* to = row(out, b, h, t);
    for (int64_t i = 0; i < pairs; ++i) {
      const int64_t first = split ? i : 2 * i, second = split ? i + pairs : 2 * i + 1;
      const double cos = angles[2 * i], sin = turn * angles[2 * i + 1];
      const double a1 = from[first], a2 = from[second];
      to[first] = static_cast<float>(a1 * cos - a2 * sin);
      to[second] = static_cast<float>(a1 * sin + a2 * cos);
    }
  });
}

void rope_forward(Stream& stream, const RopeForward& op) { rotate(stream, op, op.out, op.x, 1); }

void rope_backward(Stream& stream, const RopeBackward& op) {
  rotate(stream, op, op.d_x, op.d_out, -1);
}

}  // namespace

void ReferenceBackend::add_rope() {
  add<rope_forward>();
  add<rope_backward>();
}

}  // namespace msltx::ops
