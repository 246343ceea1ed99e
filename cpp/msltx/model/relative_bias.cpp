#include "msltx/model/relative_bias.h"

#include "msltx/ops/ops.h"

namespace msltx::model {
namespace {

constexpr int64_t kMostDistance = 128;  // shares a bucket with all beyond (Raffel et al. 2020)

}  // namespace

void RelativeBias::forward(ops::Stream& stream, const Tensor& out) const {
  ops::relative_position_bias_forward(stream,
                                      {out, weight_->value, out.dim(1), out.dim(2), kMostDistance});
}

void RelativeBias::backward(ops::Stream& stream, const Tensor& d_out, bool accumulate) const {
  ops::relative_position_bias_backward(stream, {.d_weight = weight_->grad,
                                                .d_out = d_out,
                                                .num_buckets = weight_->grad.dim(0),
                                                .max_distance = kMostDistance,
                                                .accumulate = accumulate});
}

}  // namespace msltx::model
