// Dropout; which numbers are drawn is in ops/dropout.h. Faster than the reference: one Philox
// counter serves four elements, and sixteen or more counters are encrypted side by side.
#include <cmath>
#include <cstring>

#include "msltx/base/philox.h"
#include "msltx/ops/cpu/cpu.h"
#include "msltx/ops/cpu/tasks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "msltx/ops/cpu/dropout.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "msltx/ops/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace msltx::ops::cpu::HWY_NAMESPACE {

// Counters that are encrypted at a time, each giving words for four elements.
constexpr int64_t kCounters = 64;

using U = hn::RebindToUnsigned<F>;
using VU = hn::Vec<U>;

// The upper and lower halves of a * b.
HWY_INLINE void wide_product(VU a, VU b, VU& high, VU& low) {
  low = hn::Mul(a, b);
#if HWY_TARGET == HWY_SCALAR
  const uint64_t product = uint64_t{hn::GetLane(a)} * hn::GetLane(b);
  high = hn::Set(U(), static_cast<uint32_t>(product >> 32));
#else
  const hn::Repartition<uint64_t, U> wide;
  const auto odd = [&](VU v) HWY_ATTR {
    return hn::BitCast(U(), hn::ShiftRight<32>(hn::BitCast(wide, v)));
  };
  const VU even_product = hn::BitCast(U(), hn::MulEven(a, b));
  const VU odd_product = hn::BitCast(U(), hn::MulEven(odd(a), odd(b)));
  high = hn::OddEven(odd_product, odd(even_product));
#endif
}

// words[4 i + k] = word k of counter first + i.
HWY_INLINE void draw(uint32_t* words, uint32_t first, uint32_t sequence, uint32_t step,
                     uint64_t seed) {
  HWY_ALIGN uint32_t lanes_of[4][HWY_MAX_BYTES / sizeof(uint32_t)];
  const int64_t N = lanes();
  const VU a = hn::Set(U(), 0xD2511F53u), b = hn::Set(U(), 0xCD9E8D57u);
  for (int64_t i = 0; i < kCounters; i += N) {
    VU c0 = hn::Iota(U(), first + static_cast<uint32_t>(i));
    VU c1 = hn::Set(U(), sequence), c2 = hn::Set(U(), step);
    VU c3 = hn::Set(U(), static_cast<uint32_t>(RandomStream::dropout));
    auto key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
    for (int round = 0; round < 10; ++round) {
      VU high_a, low_a, high_b, low_b;
      wide_product(a, c0, high_a, low_a);
      wide_product(b, c2, high_b, low_b);
      c0 = hn::Xor(hn::Xor(high_b, c1), hn::Set(U(), key0));
      c1 = low_b;
      c2 = hn::Xor(hn::Xor(high_a, c3), hn::Set(U(), key1));
      c3 = low_a;
      key0 += 0x9E3779B9u;
      key1 += 0xBB67AE85u;
    }
    hn::Store(c0, U(), lanes_of[0]);
    hn::Store(c1, U(), lanes_of[1]);
    hn::Store(c2, U(), lanes_of[2]);
    hn::Store(c3, U(), lanes_of[3]);
    for (int64_t lane = 0; lane < N; ++lane) {
      for (int64_t k = 0; k < 4; ++k) words[4 * (i + lane) + k] = lanes_of[k][lane];
    }
  }
}

// Row `place` / C of a sequence: n elements from `place` on. Dropped where the upper 24 bits of a
// word are below `threshold`.
void drop_row(float* out, const float* x, int64_t n, int64_t place, uint32_t sequence,
              uint32_t step, uint64_t seed, uint32_t threshold, float scale) {
  HWY_ALIGN uint32_t words[4 * kCounters + HWY_MAX_BYTES];  // a vector may begin at the last one
  const hn::RebindToSigned<F> whole;  // as signed numbers, which every instruction set compares
  const auto limit = hn::Set(whole, static_cast<int32_t>(threshold));
  const VF factor = hn::Set(F(), scale);
  for (int64_t i = 0; i < n;) {
    const int64_t counter = (place + i) / 4, skipped = (place + i) % 4;
    draw(words, static_cast<uint32_t>(counter), sequence, step, seed);
    const int64_t end = HWY_MIN(n, i + 4 * kCounters - skipped);
    const uint32_t* word = words + skipped;
    for_vectors(i, end, [&](auto io, int64_t j, int64_t count) HWY_ATTR {
      const VU drawn = hn::ShiftRight<8>(hn::LoadU(U(), word + (j - i)));
      const auto dropped = hn::RebindMask(F(), hn::Lt(hn::BitCast(whole, drawn), limit));
      const VF v = hn::Mul(io.load(x + j, count), factor);
      io.store(hn::IfThenZeroElse(dropped, v), out + j, count);
    });
    i = end;
  }
}

}  // namespace msltx::ops::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msltx::ops {
namespace cpu {

HWY_EXPORT(drop_row);

namespace {

void copy(Stream& stream, const Tensor& out, const Tensor& x) {
  const int64_t T = x.dim(1), C = x.dim(2);
  if (out.data() == x.data()) return;
  for_row_blocks(stream, x.dim(0) * T, C, [&](int64_t first, int64_t count, int) {
    for (int64_t n = first; n < first + count; ++n) {
      std::memcpy(out.data() + n / T * out.stride(0) + n % T * out.stride(1),
                  x.data() + n / T * x.stride(0) + n % T * x.stride(1),
                  static_cast<size_t>(C) * sizeof(float));
    }
  });
}

template <class Op>
void drop(Stream& stream, const Op& op, const Tensor& out, const Tensor& x) {
  const int64_t T = x.dim(1), C = x.dim(2);
  if (op.p == 0) return copy(stream, out, x);
  const float scale = 1 / (1 - op.p);
  // uniform_float(word) < p in whole numbers: both sides times 2^24.
  const auto threshold = static_cast<uint32_t>(std::ceil(double{op.p} * 0x1p24));
  const auto run = HWY_DYNAMIC_DISPATCH(drop_row);
  for_row_blocks(stream, x.dim(0) * T, C, [&](int64_t first, int64_t count, int) {
    for (int64_t n = first; n < first + count; ++n) {
      const int64_t b = n / T, t = n % T;
      const int64_t sequence =
          op.sequences.defined() ? op.sequences.template data<int32_t>()[b] : op.first_sequence + b;
      run(out.data() + b * out.stride(0) + t * out.stride(1),
          x.data() + b * x.stride(0) + t * x.stride(1), C, t * C, static_cast<uint32_t>(sequence),
          static_cast<uint32_t>(op.step), static_cast<uint64_t>(op.seed), threshold, scale);
    }
  });
}

void dropout_forward(Stream& stream, const DropoutForward& op) { drop(stream, op, op.out, op.x); }

void dropout_backward(Stream& stream, const DropoutBackward& op) {
  drop(stream, op, op.d_x, op.d_out);
}

}  // namespace
}  // namespace cpu

void CpuBackend::add_dropout() {
  add<cpu::dropout_forward>();
  add<cpu::dropout_backward>();
}

}  // namespace msltx::ops
#endif
