// The key/value cache of generation; definitions are in reference/cache.cpp. Faster than it: rows
// are copied whole, and a query meets its keys in vectors with one polynomial exponential per key.
// One Zen 4 core (AVX-512), 6 heads of 64: 97 GB/s of cache read with one query (8 times the
// reference), 104 GFLOP/s, masked pairs counted, with 256 (21 times).
//
// Row-invariant: what a query gets is computed from its place and the cache alone, always in the
// same order (keys from place 0 on, sums in blocks of 64 keys), whatever goes with it in the call.
#include <cmath>
#include <cstring>

#include "msltx/ops/cpu/attention.h"
#include "msltx/ops/cpu/cpu.h"
#include "msltx/ops/cpu/tasks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "msltx/ops/cpu/cache.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "msltx/ops/cpu/attention-inl.h"

HWY_BEFORE_NAMESPACE();
namespace msltx::ops::cpu::HWY_NAMESPACE {

// scores[i] = scale q k[i] for kKeys keys, one chain of additions each.
template <int kKeys, class E>
HWY_INLINE void score_keys(float* scores, const E* q, MatrixOf<E> k, int64_t hs, float scale) {
  VF s[kKeys];
  for (VF& v : s) v = hn::Zero(F());
  for_vectors(0, hs, [&](auto io, int64_t i, int64_t count) HWY_ATTR {
    const VF x = io.load(q + i, count);  // zero in the lanes from `count` on
    for (int j = 0; j < kKeys; ++j) s[j] = hn::MulAdd(x, io.load(k.row(j) + i, count), s[j]);
  });
  for (int j = 0; j < kKeys; ++j) scores[j] = sum_of_lanes(s[j]) * scale;
}

// out = factor sum of weights[s] v[s], kVectors vectors of the head; io as in for_vectors.
template <int kVectors, class Io, class E>
HWY_INLINE void mix_strip(Io io, E* out, const float* weights, MatrixOf<E> v, int64_t keys,
                          int64_t count, float factor) {
  constexpr int64_t kBlock = 64;
  const int64_t N = lanes();
  VF total[kVectors];
  for (VF& x : total) x = hn::Zero(F());
  for (int64_t s = 0; s < keys;) {
    VF block[kVectors];
    for (VF& x : block) x = hn::Zero(F());
    for (const int64_t end = HWY_MIN(keys, s + kBlock); s < end; ++s) {
      const VF weight = set(weights[s]);
      for (int j = 0; j < kVectors; ++j) {
        block[j] = hn::MulAdd(weight, io.load(v.row(s) + j * N, count), block[j]);
      }
    }
    for (int j = 0; j < kVectors; ++j) total[j] = hn::Add(total[j], block[j]);
  }
  for (int j = 0; j < kVectors; ++j) {
    io.store(hn::Mul(total[j], set(factor)), out + j * N, count);
  }
}

// out = softmax(scores) v over `keys` keys from the first of k and v on, `rules` being what becomes
// of their products with q; zeros where there is none. `scores` holds `keys` floats.
template <class E>
HWY_INLINE void attend(E* out, const E* q, MatrixOf<E> k, MatrixOf<E> v, int64_t keys, int64_t hs,
                       const RowRules& rules, float* scores) {
  int64_t s = 0;
  const float scale = rules.scale;
  for (; s + 4 <= keys; s += 4) score_keys<4>(scores + s, q, k.from(s), hs, scale);
  for (; s < keys; ++s) score_keys<1>(scores + s, q, k.from(s), hs, scale);
  if (rules.more) {
    RowRules rest = rules;
    rest.scale = 1;
    ScoreRow(rest).apply(scores, {0, keys});
  }
  const float top = largest(keys, scores);
  const bool none = top == -kInfinity;
  const double total = none ? 1 : exp_and_sum(scores, scores, keys, top);
  const auto factor = static_cast<float>(1 / total);
  const int64_t N = lanes(), seen = none ? 0 : keys;
  int64_t i = 0;
  for (; i + 4 * N <= hs; i += 4 * N) {
    mix_strip<4>(Whole(), out + i, scores, MatrixOf<E>{v.data + i, v.stride}, seen, N, factor);
  }
  for_vectors(i, hs, [&](auto io, int64_t j, int64_t count) HWY_ATTR {
    mix_strip<1>(io, out + j, scores, MatrixOf<E>{v.data + j, v.stride}, seen, count, factor);
  });
}

void attend_row(AnyMatrix out, AnyMatrix q, AnyMatrix k, AnyMatrix v, int64_t keys, int64_t hs,
                const RowRules& rules, float* scores) {
  with_type(q.dtype, [&]<class E>(E) {
    attend(out.as<E>().data, q.as<E>().data, k.as<E>(), v.as<E>(), keys, hs, rules, scores);
  });
}

}  // namespace msltx::ops::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace msltx::ops {
namespace cpu {

HWY_EXPORT(attend_row);

namespace {

// Copies `rows` rows of hs numbers; in one piece where both sides are contiguous.
void copy_rows(AnyMatrix to, AnyMatrix from, int64_t rows, int64_t hs) {
  const int64_t bytes = hs * size_of(from.dtype);
  if (to.stride == hs && from.stride == hs) {
    std::memcpy(to.data, from.data, static_cast<size_t>(bytes * std::max<int64_t>(rows, 0)));
    return;
  }
  for (int64_t r = 0; r < rows; ++r) {
    std::memcpy(to.from(r).data, from.from(r).data, static_cast<size_t>(bytes));
  }
}

void kv_cache_append(Stream& stream, const KvCacheAppend& op) {
  const int64_t nkv = op.k.dim(1), T = op.k.dim(2), hs = op.k.dim(3), S = op.k_cache.dim(2);
  stream.parallel_for(op.k.dim(0) * nkv, [&](int64_t task, int) {
    const int64_t b = task / nkv, h = task % nkv;
    const int64_t place = op.positions.data<int32_t>()[b];
    const int64_t rows = std::min(T, S - place);
    copy_rows(head_of(op.k_cache, b, h).from(place), head_of(op.k, b, h), rows, hs);
    copy_rows(head_of(op.v_cache, b, h).from(place), head_of(op.v, b, h), rows, hs);
  });
}

void kv_cache_gather(Stream& stream, const KvCacheGather& op) {
  const int64_t nkv = op.k_out.dim(1), S = op.k_out.dim(2), hs = op.k_out.dim(3);
  stream.parallel_for(op.k_out.dim(0) * nkv, [&](int64_t task, int) {
    const int64_t m = task / nkv, h = task % nkv, b = op.rows.data<int32_t>()[m];
    copy_rows(head_of(op.k_out, m, h), head_of(op.k_cache, b, h), S, hs);
    copy_rows(head_of(op.v_out, m, h), head_of(op.v_cache, b, h), S, hs);
  });
}

ScratchNeed attention_inference_scratch(const AttentionInference& op) {
  return {.per_worker = op.k_cache.dim(2) * int64_t{sizeof(float)}};
}

void attention_inference(Stream& stream, const AttentionInference& op) {
  constexpr int64_t kQueries = 16;  // per task: their keys stay in the second-level cache
  const int64_t nh = op.q.dim(1), T = op.q.dim(2), hs = op.q.dim(3), S = op.k_cache.dim(2);
  const int64_t group = nh / op.k_cache.dim(1), blocks = ceil_div(T, kQueries);
  const Matrix bias = matrix(op.relative_bias);
  const float* slopes = op.alibi_slopes.defined() ? op.alibi_slopes.data() : nullptr;
  RowRules rules{.scale = scale_or_default(op.scale, hs), .softcap = op.softcap};
  rules.more = op.softcap > 0 || bias || slopes;
  const auto run = HWY_DYNAMIC_DISPATCH(attend_row);
  stream.parallel_for(op.q.dim(0) * nh * blocks, [&](int64_t task, int worker) {
    const int64_t b = task / (nh * blocks), h = task / blocks % nh,
                  first = task % blocks * kQueries;
    auto* scores = reinterpret_cast<float*>(stream.worker_scratch(worker));
    const AnyMatrix q = head_of(op.q, b, h), out = head_of(op.out, b, h);
    const AnyMatrix k = head_of(op.k_cache, b, h / group), v = head_of(op.v_cache, b, h / group);
    for (int64_t t = first; t < std::min(T, first + kQueries); ++t) {
      const int64_t place = op.lengths.data<int32_t>()[b] - T + t;
      const KeyRange seen = seen_from(place, S, true, op.window);
      RowRules own = rules;
      own.place = static_cast<float>(place - seen.begin);
      if (slopes) own.slope = slopes[h];
      if (bias && seen.size() > 0) own.bias = bias.row(h) + (S - 1 - place + seen.begin);
      run(out.from(t), q.from(t), k.from(seen.begin), v.from(seen.begin), seen.size(), hs, own,
          scores);
    }
  });
}

}  // namespace
}  // namespace cpu

void CpuBackend::add_cache() {
  add<cpu::kv_cache_append>(true);
  add<cpu::kv_cache_gather>(true);
  add<cpu::attention_inference, cpu::attention_inference_scratch>(true);
}

}  // namespace msltx::ops
#endif
