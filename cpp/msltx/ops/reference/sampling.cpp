// From logits (N, V) to the next token of each row. Masked means -inf, a NaN counts as masked, and
// ties go to the lowest index. Probabilities and their sums are float64.
#include <algorithm>
#include <numeric>

#include "msltx/base/philox.h"
#include "msltx/ops/reference/loops.h"
#include "msltx/ops/reference/reference.h"
#include "msltx/ops/stream.h"

namespace msltx::ops {
namespace {

float or_masked(float logit) { return std::isnan(logit) ? kMinusInfinity : logit; }

// Indices of a row by falling logit, those of equal logits rising.
void rank(int32_t* order, const float* logits, int64_t V) {
  std::iota(order, order + V, 0);
  std::sort(order, order + V, [&](int32_t a, int32_t b) {
    const float x = or_masked(logits[a]), y = or_masked(logits[b]);
    return x > y || (x == y && a < b);
  });
}

void mask_all_but(float* out, const float* logits, const int32_t* order, int64_t kept, int64_t V) {
  if (out != logits) std::copy_n(logits, V, out);
  for (int64_t i = kept; i < V; ++i) out[order[i]] = kMinusInfinity;
}

// exp(logit - max) and the sum of these over the row.
struct Exponentials {
  const float* logits;
  double max = double{kMinusInfinity}, sum = 0;

  Exponentials(const float* row, int64_t V) : logits(row) {
    for (int64_t v = 0; v < V; ++v) max = std::max(max, double{or_masked(row[v])});
    for (int64_t v = 0; v < V; ++v) sum += (*this)(v);
  }
  double operator()(int64_t v) const {
    return max == double{kMinusInfinity} ? 0 : std::exp(double{or_masked(logits[v])} - max);
  }
};

void temperature_scale(Stream& stream, const TemperatureScale& op) {
  stream.parallel_for(op.logits.dim(0), [&](int64_t n, int) {
    const float* logits = row(op.logits, n);
    float* out = row(op.out, n);
    for (int64_t v = 0; v < op.logits.dim(1); ++v) out[v] = logits[v] / op.temperature;
  });
}

ScratchNeed topk_mask_scratch(const TopkMask& op) {
  return {.per_worker = op.logits.dim(1) * int64_t{sizeof(int32_t)}};
}

void topk_mask(Stream& stream, const TopkMask& op) {
  const int64_t V = op.logits.dim(1);
  stream.parallel_for(op.logits.dim(0), [&](int64_t n, int worker) {
    auto* order = reinterpret_cast<int32_t*>(stream.worker_scratch(worker));
    rank(order, row(op.logits, n), V);
    mask_all_but(row(op.out, n), row(op.logits, n), order, std::clamp<int64_t>(op.k, 1, V), V);
  });
}

ScratchNeed topp_mask_scratch(const ToppMask& op) {
  return {.per_worker = op.logits.dim(1) * int64_t{sizeof(int32_t)}};
}

void topp_mask(Stream& stream, const ToppMask& op) {
  const int64_t V = op.logits.dim(1);
  stream.parallel_for(op.logits.dim(0), [&](int64_t n, int worker) {
    auto* order = reinterpret_cast<int32_t*>(stream.worker_scratch(worker));
    const Exponentials exponentials(row(op.logits, n), V);
    rank(order, row(op.logits, n), V);
    // All of them reach 1, and rounding must not make it fewer.
    int64_t kept = op.p >= 1 ? V : 1;
    double reached = exponentials(order[0]) / exponentials.sum;
    for (; kept < V && reached < double{op.p}; ++kept) {
      reached += exponentials(order[kept]) / exponentials.sum;
    }
    mask_all_but(row(op.out, n), row(op.logits, n), order, kept, V);
  });
}

void argmax_sample(Stream& stream, const ArgmaxSample& op) {
  stream.parallel_for(op.logits.dim(0), [&](int64_t n, int) {
    const float* logits = row(op.logits, n);
    int64_t best = 0;
    for (int64_t v = 1; v < op.logits.dim(1); ++v) {
      if (logits[v] > or_masked(logits[best])) best = v;
    }
    op.tokens.data<int32_t>()[n] = static_cast<int32_t>(best);
  });
}

void categorical_sample(Stream& stream, const CategoricalSample& op) {
  stream.parallel_for(op.logits.dim(0), [&](int64_t n, int) {
    const int64_t sequence = op.sequences.defined() ? op.sequences.data<int32_t>()[n] : n;
    const Philox4 words =
        philox(static_cast<uint64_t>(op.seed), RandomStream::sampling,
               static_cast<uint32_t>(op.step), static_cast<uint32_t>(sequence), 0);
    const double u = uniform_double(words[0], words[1]);
    const int64_t V = op.logits.dim(1);
    const Exponentials exponentials(row(op.logits, n), V);
    int64_t token = 0;  // the last one that is possible, where rounding keeps the sum below u
    double cumulative = 0;
    for (int64_t v = 0; v < V && cumulative <= u; ++v) {
      const double probability = exponentials(v) / exponentials.sum;
      if (!(probability > 0)) continue;
      token = v;
      cumulative += probability;
    }
    op.tokens.data<int32_t>()[n] = static_cast<int32_t>(token);
  });
}

}  // namespace

void ReferenceBackend::add_sampling() {
  add<temperature_scale>();
  add<topk_mask, topk_mask_scratch>();
  add<topp_mask, topp_mask_scratch>();
  add<argmax_sample>();
  add<categorical_sample>();
}

}  // namespace msltx::ops
