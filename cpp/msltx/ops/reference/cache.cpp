// The key/value cache of generation. Caches (B, nkv, S, hs), new k and v (B, nkv, T, hs), q (B, nh,
// T, hs). Places past S are left out on append; a query sees the places up to its own,
// with the options of ops/attention.h.
#include "msltx/ops/reference/attention.h"
#include "msltx/ops/reference/reference.h"
#include "msltx/ops/stream.h"

namespace msltx::ops {
namespace {

void kv_cache_append(Stream& stream, const KvCacheAppend& op) {
  const int64_t nkv = op.k.dim(1), T = op.k.dim(2), hs = op.k.dim(3), S = op.k_cache.dim(2);
  stream.parallel_for(op.k.dim(0) * nkv * T, [&](int64_t task, int) {
    const int64_t b = task / (nkv * T), h = task / T % nkv, t = task % T;
    const int64_t place = op.positions.data<int32_t>()[b] + t;
    if (place >= S) return;
    std::copy_n(row(op.k, b, h, t), hs, row(op.k_cache, b, h, place));
    std::copy_n(row(op.v, b, h, t), hs, row(op.v_cache, b, h, place));
  });
}

void kv_cache_gather(Stream& stream, const KvCacheGather& op) {
  const int64_t nkv = op.k_out.dim(1), S = op.k_out.dim(2), hs = op.k_out.dim(3);
  stream.parallel_for(op.k_out.dim(0) * nkv * S, [&](int64_t task, int) {
    const int64_t m = task / (nkv * S), h = task / S % nkv, s = task % S;
    const int64_t b = op.rows.data<int32_t>()[m];
    std::copy_n(row(op.k_cache, b, h, s), hs, row(op.k_out, m, h, s));
    std::copy_n(row(op.v_cache, b, h, s), hs, row(op.v_out, m, h, s));
  });
}

ScratchNeed attention_inference_scratch(const AttentionInference& op) {
  return {.per_worker =
              op.q.dim(3) * int64_t{sizeof(double)} + op.k_cache.dim(2) * int64_t{sizeof(float)}};
}

void attention_inference(Stream& stream, const AttentionInference& op) {
  const int64_t nh = op.q.dim(1), T = op.q.dim(2), hs = op.q.dim(3), S = op.k_cache.dim(2);
  const Scoring scoring{scale_or_default(op.scale, hs), double{op.softcap}, {}, {}, {}};
  stream.parallel_for(op.q.dim(0) * nh * T, [&](int64_t task, int worker) {
    const int64_t b = task / (nh * T), h = task / T % nh, t = task % T;
    auto* sum = reinterpret_cast<double*>(stream.worker_scratch(worker));
    auto* scores = reinterpret_cast<float*>(sum + hs);
    const int64_t place = op.lengths.data<int32_t>()[b] - T + t;
    attend(
        row(op.out, b, h, t), row(op.q, b, h, t), op.k_cache, op.v_cache, b,
        kv_head(h, op.q, op.k_cache), seen_from(place, S, true, op.window),
        [&](int64_t s, double product) {
          double score = scoring.capped(product);
          if (op.relative_bias.defined()) {
            score += double{row(op.relative_bias, h)[S - 1 - (place - s)]};
          }
          if (op.alibi_slopes.defined()) {
            score -= double{op.alibi_slopes.data()[h]} * static_cast<double>(place - s);
          }
          return score;
        },
        [](int64_t) { return 1.0; }, scores, sum);
  });
}

}  // namespace

void ReferenceBackend::add_cache() {
  add<kv_cache_append>();
  add<kv_cache_gather>();
  add<attention_inference, attention_inference_scratch>();
}

}  // namespace msltx::ops
