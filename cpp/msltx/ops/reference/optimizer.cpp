// What an optimizer step is made of, on flat arrays of N: zero, global norm, clipping, AdamW,
// Adam (its weight decay in g), SGD.
//
//   grad_scale = min(1, max_norm / norm), skip = norm or a loss is not finite
//   g = grad grad_scale,  m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2
//   param = (1 - lr weight_decay) param - lr m_hat / (sqrt(v_hat) + eps)
//   m_hat = m / (1 - beta1^step),  v_hat = v / (1 - beta2^step)
//   SGD: m = momentum m + g,  param = param - lr m, or param - lr (g + momentum m)
#include <algorithm>
#include <cmath>

#include "msltx/ops/reference/reference.h"
#include "msltx/ops/stream.h"

namespace msltx::ops {
namespace {

constexpr int64_t kBlock = 16384;  // elements per task

int64_t blocks_of(const Tensor& x) { return (x.size() + kBlock - 1) / kBlock; }
int64_t block_end(const Tensor& x, int64_t block) {
  return std::min(x.size(), (block + 1) * kBlock);
}

void zero(Stream&, const Zero& op) { std::fill_n(op.x.data(), op.x.size(), 0.0f); }

ScratchNeed global_norm_scratch(const GlobalNorm& op) {
  return {.shared = blocks_of(op.x) * int64_t{sizeof(double)}};
}

void global_norm(Stream& stream, const GlobalNorm& op) {
  auto* sums = reinterpret_cast<double*>(stream.shared_scratch());
  stream.parallel_for(blocks_of(op.x), [&](int64_t block, int) {
    double sum = 0;
    for (int64_t i = block * kBlock; i < block_end(op.x, block); ++i) {
      sum += double{op.x.data()[i]} * double{op.x.data()[i]};
    }
    sums[block] = sum;
  });
  double total = 0;
  for (int64_t block = 0; block < blocks_of(op.x); ++block) total += sums[block];
  op.norm.data()[0] = static_cast<float>(std::sqrt(total));
}

void clip(Stream& stream, const Clip& op) {
  const float norm = op.norm.data()[0];
  const bool limited = op.max_norm != 0 && norm > op.max_norm;
  const float scale = limited ? op.max_norm / norm : 1.0f;
  bool finite = std::isfinite(norm);
  for (int64_t i = 0; op.loss.defined() && i < op.loss.size(); ++i) {
    finite = finite && std::isfinite(op.loss.data()[i]);
  }
  op.grad_scale.data()[0] = scale;
  op.skip.data()[0] = op.skip_always || !finite ? 1.0f : 0.0f;
  if (!op.out.defined()) return;
  stream.parallel_for(blocks_of(op.x), [&](int64_t block, int) {
    for (int64_t i = block * kBlock; i < block_end(op.x, block); ++i) {
      op.out.data()[i] = op.x.data()[i] * scale;
    }
  });
}

void adamw(Stream& stream, const Adamw& op) {
  if (op.skip.defined() && op.skip.data()[0] != 0) return;
  const double grad_scale = op.grad_scale.defined() ? op.grad_scale.data()[0] : 1.0f;
  const double lr = op.lr, beta1 = op.beta1, beta2 = op.beta2;  // 1 - beta in float64, too
  const double correction1 = 1 - std::pow(beta1, static_cast<double>(op.step));
  const double correction2 = 1 - std::pow(beta2, static_cast<double>(op.step));
  const double keep = 1 - lr * double{op.weight_decay};
  stream.parallel_for(blocks_of(op.param), [&](int64_t block, int) {
    for (int64_t i = block * kBlock; i < block_end(op.param, block); ++i) {
      float &param = op.param.data()[i], &m = op.m.data()[i], &v = op.v.data()[i];
      const double g = op.grad.data()[i] * grad_scale;
      m = static_cast<float>(beta1 * m + (1 - beta1) * g);
      v = static_cast<float>(beta2 * v + (1 - beta2) * g * g);
      const double m_hat = m / correction1, v_hat = v / correction2;
      param = static_cast<float>(keep * param - lr * m_hat / (std::sqrt(v_hat) + double{op.eps}));
    }
  });
}

void adam(Stream& stream, const Adam& op) {
  if (op.skip.defined() && op.skip.data()[0] != 0) return;
  const double grad_scale = op.grad_scale.defined() ? op.grad_scale.data()[0] : 1.0f;
  const double lr = op.lr, beta1 = op.beta1, beta2 = op.beta2;
  const double correction1 = 1 - std::pow(beta1, static_cast<double>(op.step));
  const double correction2 = 1 - std::pow(beta2, static_cast<double>(op.step));
  stream.parallel_for(blocks_of(op.param), [&](int64_t block, int) {
    for (int64_t i = block * kBlock; i < block_end(op.param, block); ++i) {
      float &param = op.param.data()[i], &m = op.m.data()[i], &v = op.v.data()[i];
      const double g = op.grad.data()[i] * grad_scale + double{op.weight_decay} * param;
      m = static_cast<float>(beta1 * m + (1 - beta1) * g);
      v = static_cast<float>(beta2 * v + (1 - beta2) * g * g);
      const double m_hat = m / correction1, v_hat = v / correction2;
      param = static_cast<float>(param - lr * m_hat / (std::sqrt(v_hat) + double{op.eps}));
    }
  });
}

void sgd(Stream& stream, const Sgd& op) {
  if (op.skip.defined() && op.skip.data()[0] != 0) return;
  const double grad_scale = op.grad_scale.defined() ? op.grad_scale.data()[0] : 1.0f;
  const double momentum = op.momentum;
  stream.parallel_for(blocks_of(op.param), [&](int64_t block, int) {
    for (int64_t i = block * kBlock; i < block_end(op.param, block); ++i) {
      float& param = op.param.data()[i];
      const double g = op.grad.data()[i] * grad_scale + double{op.weight_decay} * param;
      const double m = op.m.defined() ? momentum * op.m.data()[i] + g : g;
      if (op.m.defined()) op.m.data()[i] = static_cast<float>(m);
      param = static_cast<float>(param - op.lr * (op.nesterov ? g + momentum * m : m));
    }
  });
}

}  // namespace

void ReferenceBackend::add_optimizer() {
  add<zero>();
  add<global_norm, global_norm_scratch>();
  add<clip>();
  add<adamw>();
  add<adam>();
  add<sgd>();
}

}  // namespace msltx::ops
