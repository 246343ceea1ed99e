#include "msltx/model/dropout.h"

#include "msltx/ops/ops.h"

namespace msltx::model {
namespace {

Tensor by_sequence(const Tensor& x, int64_t sequences) {
  return x.reshape({sequences, x.dim(0) / sequences, x.dim(1)});
}

}  // namespace

void Dropout::forward(ops::Stream& stream, const Tensor& x, const BatchPart& part) const {
  if (rate(part.draw) == 0) return;
  const Tensor view = by_sequence(x, part.sequences);
  const Draw& draw = part.draw;
  ops::dropout_forward(stream,
                       {view, view, {}, rate(draw), seed(draw), draw.step, draw.first_sequence});
}

void Dropout::backward(ops::Stream& stream, const Tensor& d_x, const Tensor& d_out,
                       const BatchPart& part) const {
  const Draw& draw = part.draw;
  ops::dropout_backward(stream, {by_sequence(d_x, part.sequences),
                                 by_sequence(d_out, part.sequences),
                                 {},
                                 rate(draw),
                                 seed(draw),
                                 draw.step,
                                 draw.first_sequence});
}

}  // namespace msltx::model
