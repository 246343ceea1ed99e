// Products of bfloat16 that add up in float32: two neighbours on the inner dimension are one word
// of 32 bits, the first in its lower half, which is what the instruction of AVX512_BF16 takes.
// Other instruction sets widen both halves. Words travel as floats that have their bits and are
// never computed with. Compiled once per instruction set.
//
// The instruction takes denormals for zero. It is not in Highway 1.0, and a function compiled for
// it could not be inlined into kernels for AVX-512 at large: hence assembler. Who calls these on a
// machine with AVX-512 has made sure that it has the instruction.
#include <cstdint>
#include <cstring>

#include "msltx/ops/cpu/attention.h"
#include "msltx/ops/cpu/multiply-inl.h"

#if defined(MSLTX_OPS_CPU_PAIRS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MSLTX_OPS_CPU_PAIRS_INL_H_
#undef MSLTX_OPS_CPU_PAIRS_INL_H_
#else
#define MSLTX_OPS_CPU_PAIRS_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace msltx::ops::cpu::HWY_NAMESPACE {

// Rounded as by narrowed(), but that a denormal becomes zero, which the products would take it for.
HWY_INLINE hn::Vec<Half> narrowed_factor(VF v) {
#if HWY_TARGET == HWY_AVX3
  hn::Vec<Half> half;
  asm("vcvtneps2bf16 %1, %0" : "=v"(half.raw) : "v"(v.raw));
  return half;
#else
  return narrowed(v);
#endif
}

// In the place of Numbers.
struct Pairs {
  static HWY_INLINE VF multiply_add(VF a, VF b, VF sum) {
#if HWY_TARGET == HWY_AVX3
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(a.raw), "v"(b.raw));
    return sum;
#else
    const auto x = hn::BitCast(U(), a), y = hn::BitCast(U(), b);
    const auto number = [](hn::Vec<U> bits) HWY_ATTR { return hn::BitCast(F(), bits); };
    const auto upper = hn::Set(U(), 0xffff0000u);
    sum = hn::MulAdd(number(hn::And(x, upper)), number(hn::And(y, upper)), sum);
    return hn::MulAdd(number(hn::ShiftLeft<16>(x)), number(hn::ShiftLeft<16>(y)), sum);
#endif
  }
};

template <class E>
using Factors = std::conditional_t<dtype_of<E> == DType::bfloat16, Pairs, Numbers>;

// A product's operands of either type, made of matrices (rows, n). `room` is for words where they
// do not lie in memory as they are needed.

// Rows in words: the left side, or the right side transposed (pack_transposed). Of bfloat16 with
// room for rows words(n), used for odd widths alone.
HWY_INLINE Matrix row_operand(float*, Matrix x, int64_t, int64_t) { return x; }
HWY_INLINE Matrix row_operand(float* room, MatrixOf<bfloat16> x, int64_t rows, int64_t n) {
  const bool aligned = reinterpret_cast<uintptr_t>(x.data) % sizeof(float) == 0;
  if (aligned && n % 2 == 0 && x.stride % 2 == 0) {
    return {reinterpret_cast<float*>(x.data), x.stride / 2};
  }
  const int64_t width = words<bfloat16>(n);
  for (int64_t r = 0; r < rows; ++r) {
    float* to = room + r * width;
    to[width - 1] = 0;
    std::memcpy(to, x.row(r), static_cast<size_t>(n) * sizeof(bfloat16));
  }
  return {room, width};
}

// Columns in words: the right side. Of bfloat16 with room for words(rows) n, and a zero beside the
// last of an odd number of rows.
HWY_INLINE Right column_operand(float*, Matrix x, int64_t, int64_t) { return right(x); }
HWY_INLINE Right column_operand(float* room, MatrixOf<bfloat16> x, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r += 2) {
    const bfloat16 *lower = x.row(r), *upper = r + 1 < rows ? x.row(r + 1) : nullptr;
    float* to = room + r / 2 * n;
    for_vectors(0, n, [&](auto io, int64_t i, int64_t count) HWY_ATTR {
      const auto low = hn::ShiftRight<16>(hn::BitCast(U(), io.load(lower + i, count)));
      const auto high = upper ? hn::BitCast(U(), io.load(upper + i, count)) : hn::Zero(U());
      io.store(hn::BitCast(F(), hn::Or(low, high)), to + i, count);
    });
  }
  return right({room, n});
}

// A row of float32 as one of bfloat16 in the same memory: `n` of them, to whole vectors.
HWY_INLINE void narrow_in_place(float* row, int64_t n) {
  auto* to = reinterpret_cast<uint16_t*>(row);
  for (int64_t i = 0; i < n; i += lanes()) {
    hn::StoreU(narrowed_factor(hn::LoadU(F(), row + i)), Half(), to + i);
  }
}

// Two rows of float32 as one of words, in the memory of the first; `upper` may be null for zeros.
// Where `rows` is given, each is written there in bfloat16 as well, `stride` words apart.
HWY_INLINE void pair_in_place(float* lower, const float* upper, int64_t n, float* rows = nullptr,
                              int64_t stride = 0) {
  auto *first = reinterpret_cast<uint16_t*>(rows), *second = first + 2 * stride;
  for (int64_t i = 0; i < n; i += lanes()) {
    const auto low = narrowed_factor(hn::LoadU(F(), lower + i));
    const auto high = upper ? narrowed_factor(hn::LoadU(F(), upper + i)) : hn::Zero(Half());
    const auto word = hn::Or(hn::PromoteTo(U(), low), hn::ShiftLeft<16>(hn::PromoteTo(U(), high)));
    hn::StoreU(hn::BitCast(F(), word), F(), lower + i);
    if (!rows) continue;
    hn::StoreU(low, Half(), first + i);
    if (upper) hn::StoreU(high, Half(), second + i);
  }
}

}  // namespace msltx::ops::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
