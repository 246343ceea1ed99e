#include "msltx/generate/sampler.h"

#include "msltx/base/error.h"
#include "msltx/ops/ops.h"

namespace msltx::generate {

namespace {

// Beyond these, logits over temperature leave float32.
constexpr double kLeastTemperature = 1e-6, kMostTemperature = 1e6;

}  // namespace

void check(const SamplerOptions& options) {
  const double t = options.temperature;
  if (t != 0 && !(t >= kLeastTemperature && t <= kMostTemperature)) {
    throw ValueError(concat("temperature is ", t, "; it takes 0 (greedy) or a number from ",
                            kLeastTemperature, " to ", kMostTemperature));
  }
  if (options.top_k < 0) {
    throw ValueError(concat("top_k is ", options.top_k, "; it takes 0 (all tokens) or more"));
  }
  if (!(options.top_p > 0 && options.top_p <= 1)) {
    throw ValueError(concat("top_p is ", options.top_p, "; it takes a number above 0, at most 1"));
  }
}

Sampler::Sampler(const SamplerOptions& options, int64_t sequences, int64_t vocab_size)
    : options_(options),
      arena_(
          (check(options), Arena::aligned(sequences * size_of(DType::int32)) +
                               Arena::aligned(sequences * vocab_size * size_of(DType::float32)))) {
  tokens_ = arena_.allocate(DType::int32, {sequences});
  scaled_ = arena_.allocate(DType::float32, {sequences, vocab_size});
}

void Sampler::encode(ops::Stream& stream, const Tensor& logits, int64_t step) {
  ops::Stream::Scope scope(stream, "sample");
  if (options_.temperature == 0) return ops::argmax_sample(stream, {tokens_, logits});
  ops::temperature_scale(stream, {scaled_, logits, static_cast<float>(options_.temperature)});
  if (options_.top_k > 0) ops::topk_mask(stream, {scaled_, scaled_, options_.top_k});
  if (options_.top_p < 1) {
    ops::topp_mask(stream, {scaled_, scaled_, static_cast<float>(options_.top_p)});
  }
  ops::categorical_sample(stream,
                          {tokens_, scaled_, {}, static_cast<int64_t>(options_.seed), step});
}

}  // namespace msltx::generate
