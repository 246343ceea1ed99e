#include "msltx/optim/adamw.h"

#include <cmath>
#include <limits>

#include "msltx/base/error.h"
#include "msltx/ops/ops.h"

namespace msltx::optim {
namespace {

void check_range(const char* name, double value, double low, double high, const char* limits) {
  if (!(value >= low && value < high)) {
    throw ValueError(concat("AdamW: ", name, " is ", value, "; it takes ", limits));
  }
}

}  // namespace

void check(const AdamWOptions& options) {
  check_range("weight_decay", double{options.weight_decay}, 0, INFINITY, "0 or more");
  check_range("beta1", options.beta1, 0, 1, "0 or more, below 1");
  check_range("beta2", options.beta2, 0, 1, "0 or more, below 1");
  // Not 0: a value that never had a gradient, as a token's that does not occur, would become 0 / 0.
  check_range("eps", double{options.eps}, double{std::numeric_limits<float>::min()}, INFINITY,
              "a number above 0 that float32 holds");
  check_range("grad_clip", double{options.grad_clip}, 0, INFINITY, "0 (no limit) or more");
}

AdamW::AdamW(int64_t size, int64_t decayed, const AdamWOptions& options)
    : options_(options),
      decayed_(decayed),
      moments_((check(options), bytes(size))),
      scalars_(3 * Arena::kAlignment) {
  m_ = moments_.allocate(DType::float32, {size});
  v_ = moments_.allocate(DType::float32, {size});
  norm_ = scalars_.allocate(DType::float32, {1});
  grad_scale_ = scalars_.allocate(DType::float32, {1});
  skip_ = scalars_.allocate(DType::float32, {1});
}

void AdamW::encode(ops::Stream& stream, const Tensor& values, const Tensor& gradients,
                   const Tensor& losses, float learning_rate, bool skip_always) {
  check_range("lr", double{learning_rate}, 0, INFINITY, "0 or more, finite in float32");
  ops::Stream::Scope scope(stream, "optimizer");
  ops::global_norm(stream, {norm_, gradients});
  ops::clip(stream, {{}, grad_scale_, skip_, {}, norm_, losses, options_.grad_clip, skip_always});
  const auto update = [&](int64_t first, int64_t count, float weight_decay) {
    if (count == 0) return;
    ops::adamw(stream, {.param = values.slice(0, first, count),
                        .m = m_.slice(0, first, count),
                        .v = v_.slice(0, first, count),
                        .grad = gradients.slice(0, first, count),
                        .grad_scale = grad_scale_,
                        .skip = skip_,
                        .lr = learning_rate,
                        .beta1 = options_.beta1,
                        .beta2 = options_.beta2,
                        .eps = options_.eps,
                        .weight_decay = weight_decay,
                        .step = steps_ + 1});
  };
  ops::Stream::Shield whole(stream);
  update(0, decayed_, options_.weight_decay);
  update(decayed_, values.dim(0) - decayed_, 0);
}

}  // namespace msltx::optim
