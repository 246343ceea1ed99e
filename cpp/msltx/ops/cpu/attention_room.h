// What a task of fused attention holds in a worker's scratch: where each part begins, in floats.
// Operands of bfloat16 are brought into words there, and their sums kept in float32; of float32
// nothing is but the transposed keys and values.
#pragma once

#include <algorithm>
#include <cstdint>

#include "msltx/ops/attention.h"
#include "msltx/ops/cpu/attention.h"

namespace msltx::ops::cpu {

class RoomCounter {
 public:
  explicit RoomCounter(int64_t first) : next_(first) {}
  int64_t take(int64_t floats) {
    const int64_t begin = next_;
    next_ += (floats + 15) / 16 * 16;  // cache lines
    return begin;
  }
  // Of what bfloat16 needs alone.
  template <class E>
  int64_t take_for_words(int64_t floats) {
    return take(kPerWord<E> > 1 ? floats : 0);
  }
  int64_t end() const { return next_; }

 private:
  int64_t next_;
};

// Behind a tile of scores.
template <class E>
struct ForwardRoom {
  int64_t k_transposed, copies, v, sums, floats;

  explicit ForwardRoom(const FlashAttentionForward& op) {
    const int64_t S = op.k.dim(2), hs = op.k.dim(3);
    RoomCounter room(kTileFloats);
    k_transposed = room.take(packed_keys(S) * words<E>(hs));
    copies = room.take_for_words<E>(std::max(S, kQueries) * words<E>(hs));
    v = room.take_for_words<E>(words<E>(S) * hs);
    sums = room.take_for_words<E>(kQueries * hs);
    floats = room.end();
  }
};

// Behind two tiles of scores.
template <class E>
struct BackwardRoom {
  static constexpr int64_t kRowStride = kKeys / kPerWord<E> + 8;  // of ds_rows
  int64_t k_transposed, v_transposed, copies, d_out_copies, k, q, d_out, ds_rows, d_q, d_k, d_v,
      floats;

  explicit BackwardRoom(const FlashAttentionBackward& op) {
    const int64_t S = op.k.dim(2), hs = op.k.dim(3), width = words<E>(hs);
    RoomCounter room(2 * kTileFloats);
    k_transposed = room.take(packed_keys(S) * width);
    v_transposed = room.take(packed_keys(S) * width);
    copies = room.take_for_words<E>(std::max(S, kQueries) * width);
    d_out_copies = room.take_for_words<E>(kQueries * width);
    k = room.take_for_words<E>(words<E>(S) * hs);
    q = room.take_for_words<E>(words<E>(kQueries) * hs);
    d_out = room.take_for_words<E>(words<E>(kQueries) * hs);
    ds_rows = room.take_for_words<E>(kQueries * kRowStride);
    d_q = room.take_for_words<E>(kQueries * hs);
    d_k = room.take_for_words<E>(S * hs);
    d_v = room.take_for_words<E>(S * hs);
    floats = room.end();
  }
};

}  // namespace msltx::ops::cpu
