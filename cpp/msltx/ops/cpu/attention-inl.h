// A tile of queries against a block of keys: the products that attention is made of, each leaving
// out what the mask does, the making of scores and their exponentials. Compiled once per
// instruction set.
#include "msltx/ops/cpu/attention.h"
#include "msltx/ops/cpu/math-inl.h"
#include "msltx/ops/cpu/multiply-inl.h"
#include "msltx/ops/cpu/pairs-inl.h"

#if defined(MSLTX_OPS_CPU_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MSLTX_OPS_CPU_ATTENTION_INL_H_
#undef MSLTX_OPS_CPU_ATTENTION_INL_H_
#else
#define MSLTX_OPS_CPU_ATTENTION_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace msltx::ops::cpu::HWY_NAMESPACE {

HWY_INLINE int64_t whole_vectors(int64_t n) { return (n + lanes() - 1) / lanes() * lanes(); }

HWY_INLINE void zero_rows(Matrix m, int64_t first, int64_t end, int64_t n) {
  for (int64_t r = first; r < end; ++r) fill(n, m.row(r), 0);
}

// A tile of queries against a block of keys, and who sees whom in it. `first` is the first block of
// keys of these queries; where they begin inside of it, `k0` is a multiple of kKeyGrid.
constexpr int64_t kKeyGrid = 64;  // panels of packed keys begin there on any instruction set

template <class Mask>
struct Tile {
  Mask mask;
  int64_t t0, rows, k0, keys;
  bool first;

  // The keys of the block that row r of the tile sees.
  KeyRange seen(int64_t r) const { return in_block(mask.keys(t0 + r)); }
  KeyRange seen(int64_t r, int64_t n) const { return in_block(mask.keys(t0 + r, n)); }

  // Operands are of type E: a (and weights) as row_operand() gives them, of the tile's rows; b from
  // pack_transposed() and x from column_operand().

  // scores = a b^T in the columns that a strip sees, to whole vectors; b has all keys.
  template <class E = float>
  void multiply_seen(Matrix scores, Matrix a, Right b, int64_t hs) const {
    multiply_block<E>(scores, a, {b.data + k0 * words<E>(hs), b.row, b.panel}, hs);
  }
  // The same with only the block's keys packed.
  template <class E = float>
  void multiply_block(Matrix scores, Matrix a, Right b, int64_t hs) const {
    const int64_t inner = words<E>(hs);
    multiply<Factors<E>>(scores, {a.data, a.stride, 1}, b, rows, whole_vectors(keys), inner, false,
                         [&](int64_t r, int64_t n) {
                           const KeyRange s = seen(r, n);
                           return Range{whole_vectors(s.end), 0, inner, s.begin};
                         });
  }
  // out (+)= weights x: a row of weights per query of the tile, rows of x per key of all.
  template <class E = float>
  void mix_keys(Matrix out, Matrix weights, Right x, int64_t hs) const {
    multiply<Factors<E>>(out, {weights.data, weights.stride, 1},
                         {x.data + k0 / kPerWord<E> * x.row, x.row, x.panel}, rows, hs,
                         words<E>(keys), !first, [&](int64_t r, int64_t n) {
                           const KeyRange s = seen(r, n);
                           return Range{hs, s.begin / kPerWord<E>, words<E>(s.end)};
                         });
  }
  // out (+)= weights^T x: a row of out per key of all, rows of x per query of the tile. Weights of
  // bfloat16 are pairs of queries, in every second row.
  template <class E = float>
  void mix_queries(Matrix out, Matrix weights, Right x, int64_t hs, bool accumulate) const {
    multiply<Factors<E>>(out.from(k0), {weights.data, 1, kPerWord<E> * weights.stride}, x, keys, hs,
                         words<E>(rows), accumulate, [&](int64_t s, int64_t n) {
                           const KeyRange t = mask.queries(k0 + s, n, t0, rows);
                           return Range{hs, t.begin / kPerWord<E>, words<E>(t.end)};
                         });
  }

 private:
  KeyRange in_block(KeyRange s) const {
    const int64_t end = HWY_MIN(HWY_MAX(s.end - k0, int64_t{0}), keys);
    return {HWY_MIN(HWY_MAX(s.begin - k0, int64_t{0}), end), end};
  }
};

// fn(tile) for the blocks of keys that the queries [t0, t0 + rows) see, in order.
template <class Mask, class Fn>
HWY_INLINE void for_key_blocks(const Mask& mask, int64_t t0, int64_t rows, const Fn& fn) {
  const KeyRange seen = mask.keys(t0, rows);
  const int64_t begin = seen.begin / kKeyGrid * kKeyGrid;
  for (int64_t k0 = begin; k0 < seen.end; k0 += kKeys) {
    fn(Tile<Mask>{mask, t0, rows, k0, HWY_MIN(kKeys, seen.end - k0), k0 == begin});
  }
}

// The scores of one query, in vectors.
struct ScoreRow {
  RowRules rules;
  float inverse_cap;

  explicit ScoreRow(const RowRules& row)
      : rules(row), inverse_cap(row.softcap > 0 ? 1 / row.softcap : 0) {}

  HWY_INLINE VF capped(VF x) const {
    const VF scaled = hn::Mul(x, set(rules.scale));
    if (rules.softcap == 0) return scaled;
    return hn::Mul(tanh(hn::Mul(scaled, set(inverse_cap))), set(rules.softcap));
  }
  // The derivative of capped() by x.
  HWY_INLINE VF slope(VF capped) const {
    if (rules.softcap == 0) return set(rules.scale);
    const VF ratio = hn::Mul(capped, set(inverse_cap));
    return hn::Mul(hn::NegMulAdd(ratio, ratio, set(1.0f)), set(rules.scale));
  }
  // Of the elements [i, i + count).
  template <class Io>
  HWY_INLINE VF score(Io io, VF capped, int64_t i, int64_t count) const {
    VF x = capped;
    if (rules.bias) x = hn::Add(x, io.load(rules.bias + i, count));
    if (rules.slope != 0) {
      const VF apart = hn::Iota(F(), static_cast<float>(i) - rules.place);
      x = hn::NegMulAdd(hn::Abs(apart), set(rules.slope), x);
    }
    return x;
  }
  // x becomes scores in a range.
  void apply(float* x, KeyRange range) const {
    for_vectors(range.begin, range.end, [&](auto io, int64_t i, int64_t count) HWY_ATTR {
      io.store(score(io, capped(io.load(x + i, count)), i, count), x + i, count);
    });
  }
};

// The largest of scale x[0..n); with a NaN among them not -inf.
HWY_INLINE float largest_scaled(const float* x, int64_t n, float scale) {
  VF top = hn::Set(F(), -kInfinity);
  for_vectors(0, n, [&](auto io, int64_t i, int64_t count) HWY_ATTR {
    const VF v = hn::Mul(io.load(x + i, count), set(scale));
    top = hn::Max(top, io.clear(v, count, -kInfinity));
  });
  return or_nan(max_of_lanes(top), x, n);
}

// x = exp(scale x - shift); returns the sum.
HWY_INLINE float exp_scaled(float* x, int64_t n, float scale, float shift) {
  VF total = hn::Zero(F());
  for_vectors(0, n, [&](auto io, int64_t i, int64_t count) HWY_ATTR {
    const VF e = exp_not_positive(hn::MulSub(io.load(x + i, count), set(scale), set(shift)));
    io.store(e, x + i, count);
    total = hn::Add(total, io.clear(e, count));
  });
  return sum_of_lanes(total);
}

template <class E>
HWY_INLINE void scale_row(E* out, const float* x, int64_t n, float factor) {
  map(n, out, [&](VF v) { return hn::Mul(v, set(factor)); }, x);
}

// Zeros in a row of `keys` elements but for those that are seen.
HWY_INLINE void clear_unseen(float* row, KeyRange seen, int64_t keys) {
  fill(seen.begin, row, 0);
  fill(keys - seen.end, row + seen.end, 0);
}

// The factors of dropout for keys [64 j, 64 j + 64) of one query: its 16 counters side by side, in
// loops that compilers turn into vectors.
HWY_INLINE void dropout_factors(float* factors, std::array<uint32_t, 2> key, int64_t j,
                                uint32_t threshold, float kept) {
  constexpr int kCounters = 16;
  uint32_t c0[kCounters], c1[kCounters] = {}, c2[kCounters] = {}, c3[kCounters] = {};
  for (int i = 0; i < kCounters; ++i) c0[i] = static_cast<uint32_t>(j * kCounters + i);
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < kCounters; ++i) {
      const uint64_t a = uint64_t{0xD2511F53u} * c0[i], b = uint64_t{0xCD9E8D57u} * c2[i];
      c0[i] = static_cast<uint32_t>(b >> 32) ^ c1[i] ^ key[0];
      c1[i] = static_cast<uint32_t>(b);
      c2[i] = static_cast<uint32_t>(a >> 32) ^ c3[i] ^ key[1];
      c3[i] = static_cast<uint32_t>(a);
    }
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  for (int i = 0; i < kCounters; ++i) {
    factors[i] = c0[i] >> 8 >= threshold ? kept : 0.0f;
    factors[16 + i] = c1[i] >> 8 >= threshold ? kept : 0.0f;
    factors[32 + i] = c2[i] >> 8 >= threshold ? kept : 0.0f;
    factors[48 + i] = c3[i] >> 8 >= threshold ? kept : 0.0f;
  }
}

// The factors of dropout of one query for the keys from k0 on, a multiple of 64; `range` of them is
// filled, to whole blocks of 64. The room is kKeys floats.
HWY_INLINE void dropout_row(float* factors, const AttentionDropout& dropout, int64_t b, int64_t h,
                            int64_t t, int64_t k0, KeyRange range) {
  const auto key = dropout.key(b, h, t);
  const uint32_t threshold = dropout.threshold();
  for (int64_t s = range.begin / 64 * 64; s < range.end; s += 64) {
    dropout_factors(factors + s, key, (k0 + s) / 64, threshold, dropout.kept());
  }
}

}  // namespace msltx::ops::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
