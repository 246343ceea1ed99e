// Loops over float rows for Highway kernels: whole vectors, then one partial vector. Compiled once
// per instruction set; include it after hwy/foreach_target.h and hwy/highway.h.
//
// Sums keep four vector accumulators (the latency of an addition is three or four cycles) and join
// them in a fixed order, so a sum's bits depend on its length and the instruction set only.
#include <cstddef>
#include <cstdint>
#include <limits>

#include "hwy/highway.h"
#include "msltx/base/dtype.h"

#if defined(MSLTX_OPS_CPU_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MSLTX_OPS_CPU_SIMD_INL_H_
#undef MSLTX_OPS_CPU_SIMD_INL_H_
#else
#define MSLTX_OPS_CPU_SIMD_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace msltx::ops::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F = hn::ScalableTag<float>;
using VF = hn::Vec<F>;
using MF = hn::Mask<F>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

HWY_INLINE int64_t lanes() { return static_cast<int64_t>(hn::Lanes(F())); }

HWY_INLINE MF first(int64_t count) { return hn::FirstN(F(), static_cast<size_t>(count)); }

// `count` < lanes() floats, zeros behind them.
HWY_INLINE VF load_part(const float* from, int64_t count) {
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN float buffer[HWY_MAX_BYTES / sizeof(float)] = {};
  for (int64_t i = 0; i < count; ++i) buffer[i] = from[i];
  return hn::Load(F(), buffer);
#else
  return hn::MaskedLoad(first(count), F(), from);
#endif
}

HWY_INLINE void store_part(VF v, float* to, int64_t count) {
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN float buffer[HWY_MAX_BYTES / sizeof(float)];
  hn::Store(v, F(), buffer);
  for (int64_t i = 0; i < count; ++i) to[i] = buffer[i];
#else
  hn::BlendedStore(v, first(count), F(), to);
#endif
}

// bfloat16 is the upper half of a float32: widened by a shift, rounded to nearest even with a quiet
// NaN as in base/dtype.h. (Highway 1.0.3's own conversion truncates, and the instruction of
// AVX512_BF16 takes denormals for zero.)
using U = hn::RebindToUnsigned<F>;
using Half = hn::Rebind<uint16_t, F>;

HWY_INLINE VF widened(hn::Vec<Half> half) {
  return hn::BitCast(F(), hn::ShiftLeft<16>(hn::PromoteTo(U(), half)));
}

// The rounded value in the upper half of each word; what is below is to be dropped.
HWY_INLINE hn::Vec<U> rounded(VF v) {
  const auto word = hn::BitCast(U(), v);
  const auto odd = hn::And(hn::ShiftRight<16>(word), hn::Set(U(), 1));
  const auto up = hn::Add(word, hn::Add(odd, hn::Set(U(), 0x7fff)));
  const auto quiet = hn::Or(word, hn::Set(U(), 0x400000));
  return hn::IfThenElse(hn::RebindMask(U(), hn::IsNaN(v)), quiet, up);
}

HWY_INLINE hn::Vec<Half> narrowed(VF v) {
  return hn::TruncateTo(Half(), hn::ShiftRight<16>(rounded(v)));
}

HWY_INLINE const uint16_t* bits(const bfloat16* x) { return &x->bits; }
HWY_INLINE uint16_t* bits(bfloat16* x) { return &x->bits; }

HWY_INLINE VF load_part(const bfloat16* from, int64_t count) {
  HWY_ALIGN uint16_t buffer[HWY_MAX_BYTES / sizeof(float)] = {};
  for (int64_t i = 0; i < count; ++i) buffer[i] = from[i].bits;
  return widened(hn::Load(Half(), buffer));
}

HWY_INLINE void store_part(VF v, bfloat16* to, int64_t count) {
  HWY_ALIGN uint16_t buffer[HWY_MAX_BYTES / sizeof(float)];
  hn::Store(narrowed(v), Half(), buffer);
  for (int64_t i = 0; i < count; ++i) to[i].bits = buffer[i];
}

// How a loop body reads and writes: whole vectors, or the last, partial one.
struct Whole {
  HWY_INLINE VF load(const float* from, int64_t) const { return hn::LoadU(F(), from); }
  HWY_INLINE void store(VF v, float* to, int64_t) const { hn::StoreU(v, F(), to); }
  HWY_INLINE VF load(const bfloat16* from, int64_t) const {
    return widened(hn::LoadU(Half(), bits(from)));
  }
  HWY_INLINE void store(VF v, bfloat16* to, int64_t) const {
    hn::StoreU(narrowed(v), Half(), bits(to));
  }
  HWY_INLINE VF clear(VF v, int64_t, float = 0) const { return v; }
};
struct Part {
  template <class T>
  HWY_INLINE VF load(const T* from, int64_t count) const {
    return load_part(from, count);
  }
  template <class T>
  HWY_INLINE void store(VF v, T* to, int64_t count) const {
    store_part(v, to, count);
  }
  // `other` in the lanes from `count` on.
  HWY_INLINE VF clear(VF v, int64_t count, float other = 0) const {
    return hn::IfThenElse(first(count), v, hn::Set(F(), other));
  }
};

// body(io, i, count) for every vector of [begin, end).
template <class Body>
HWY_INLINE void for_vectors(int64_t begin, int64_t end, const Body& body) {
  const int64_t N = lanes();
  int64_t i = begin;
  for (; i + N <= end; i += N) body(Whole(), i, N);
  if (i < end) body(Part(), i, end - i);
}

// out[i] = fn(in[i] ...); out may be one of the inputs.
template <class Out, class Fn, class... In>
HWY_INLINE void map(int64_t n, Out* out, const Fn& fn, const In*... in) {
  for_vectors(0, n, [&](auto io, int64_t i, int64_t count) HWY_ATTR {
    io.store(fn(io.load(in + i, count)...), out + i, count);
  });
}

template <class T>
HWY_INLINE void fill(int64_t n, T* out, float value) {
  for_vectors(0, n, [&](auto io, int64_t i, int64_t count) HWY_ATTR {
    io.store(hn::Set(F(), value), out + i, count);
  });
}

HWY_INLINE float sum_of_lanes(VF v) { return hn::GetLane(hn::SumOfLanes(F(), v)); }
HWY_INLINE float max_of_lanes(VF v) { return hn::GetLane(hn::MaxOfLanes(F(), v)); }

// Sums run in float32 over blocks of 128 vectors, in float64 across blocks.
HWY_INLINE int64_t sum_block() { return 128 * lanes(); }

// The sum over i of fn(in[i] ...).
template <class Fn, class... In>
HWY_INLINE double sum(int64_t n, const Fn& fn, const In*... in) {
  const int64_t N = lanes();
  double total = 0;
  for (int64_t i = 0; i < n;) {
    const int64_t end = HWY_MIN(n, i + sum_block());
    VF s0 = hn::Zero(F()), s1 = s0, s2 = s0, s3 = s0;
    for (; i + 4 * N <= end; i += 4 * N) {
      s0 = hn::Add(s0, fn(Whole().load(in + i, N)...));
      s1 = hn::Add(s1, fn(Whole().load(in + i + N, N)...));
      s2 = hn::Add(s2, fn(Whole().load(in + i + 2 * N, N)...));
      s3 = hn::Add(s3, fn(Whole().load(in + i + 3 * N, N)...));
    }
    for_vectors(i, end, [&](auto io, int64_t j, int64_t count) HWY_ATTR {
      s0 = hn::Add(s0, io.clear(fn(io.load(in + j, count)...), count));
    });
    i = end;
    total += double{sum_of_lanes(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)))};
  }
  return total;
}

// Several sums in one pass: body(io, i, count, sums) adds to kSums vectors, one chain each, with
// nothing in the lanes from `count` on.
template <int kSums, class Body>
HWY_INLINE void sums(int64_t n, double (&totals)[kSums], const Body& body) {
  for (double& total : totals) total = 0;
  for (int64_t i = 0; i < n; i += sum_block()) {
    VF s[kSums];
    for (VF& v : s) v = hn::Zero(F());
    for_vectors(i, HWY_MIN(n, i + sum_block()),
                [&](auto io, int64_t j, int64_t count) HWY_ATTR { body(io, j, count, s); });
    for (int k = 0; k < kSums; ++k) totals[k] += double{sum_of_lanes(s[k])};
  }
}

// A maximum of vectors may lose a NaN. Where `top`, the maximum of x[0..n), is -inf, NaN if there
// is one: otherwise a row of NaN would pass for a row without an entry. Elsewhere a NaN shows in
// what is computed next.
template <class T>
HWY_INLINE float or_nan(float top, const T* x, int64_t n) {
  for (int64_t i = 0; i < n && top == -kInfinity; ++i) {
    const auto value = static_cast<float>(x[i]);
    if (value != value) return value;
  }
  return top;
}

// The largest of x[0..n), -inf where n is 0; with a NaN among them not -inf.
template <class T>
HWY_INLINE float largest(int64_t n, const T* x) {
  const int64_t N = lanes();
  const VF lowest = hn::Set(F(), -kInfinity);
  VF m0 = lowest, m1 = lowest, m2 = lowest, m3 = lowest;
  int64_t i = 0;
  for (; i + 4 * N <= n; i += 4 * N) {
    m0 = hn::Max(m0, Whole().load(x + i, N));
    m1 = hn::Max(m1, Whole().load(x + i + N, N));
    m2 = hn::Max(m2, Whole().load(x + i + 2 * N, N));
    m3 = hn::Max(m3, Whole().load(x + i + 3 * N, N));
  }
  for (; i + N <= n; i += N) m0 = hn::Max(m0, Whole().load(x + i, N));
  if (i < n) m1 = hn::Max(m1, hn::IfThenElse(first(n - i), load_part(x + i, n - i), lowest));
  return or_nan(max_of_lanes(hn::Max(hn::Max(m0, m1), hn::Max(m2, m3))), x, n);
}

}  // namespace msltx::ops::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
