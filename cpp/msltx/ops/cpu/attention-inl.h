// A tile of queries against a block of keys: the products that attention is made of, each leaving
// out what the mask does. Compiled once per instruction set.
#include "msltx/ops/cpu/attention.h"
#include "msltx/ops/cpu/multiply-inl.h"

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

// A tile of queries against a block of keys, and who sees whom in it.
struct Tile {
  Mask mask;
  int64_t t0, rows, k0, keys;

  // Keys of the block that row r of the tile sees.
  int64_t visible(int64_t r) const {
    return HWY_MIN(HWY_MAX(mask.visible(t0 + r) - k0, int64_t{0}), keys);
  }
  // The first row of the tile that sees key s of the block.
  int64_t first_row(int64_t s) const { return HWY_MIN(mask.first_query(k0 + s, t0), rows); }

  // scores = a b^T in the columns that a strip sees, to whole vectors; b comes transposed.
  void multiply_seen(Matrix scores, Matrix a, Right b, int64_t hs) const {
    multiply(scores, {a.row(t0), a.stride, 1}, {b.data + k0 * hs, b.row, b.panel}, rows,
             whole_vectors(keys), hs, false,
             [&](int64_t r, int64_t n) { return Range{whole_vectors(visible(r + n - 1)), 0, hs}; });
  }
  // out (+)= weights x: a row of weights per query, rows of x per key.
  void mix_keys(Matrix out, Matrix weights, Matrix x, int64_t hs) const {
    multiply({out.row(t0), out.stride}, {weights.data, weights.stride, 1},
             right({x.row(k0), x.stride}), rows, hs, keys, k0 > 0,
             [&](int64_t r, int64_t n) { return Range{hs, 0, visible(r + n - 1)}; });
  }
  // out (+)= weights^T x: a row of out per key, rows of x per query.
  void mix_queries(Matrix out, Matrix weights, Matrix x, int64_t hs, bool accumulate) const {
    multiply({out.row(k0), out.stride}, {weights.data, 1, weights.stride},
             right({x.row(t0), x.stride}), keys, hs, rows, accumulate,
             [&](int64_t s, int64_t) { return Range{hs, first_row(s), rows}; });
  }
};

}  // namespace msltx::ops::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
