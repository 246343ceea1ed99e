// Attention against the cache is row-invariant on every instruction set: what a token gets depends
// on its own sequence up to its place, not on the batch, the number of tokens in the call, the
// length of the cache or the thread.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "msltx/ops/ops.h"
#include "ops/cpu_targets.h"

namespace msltx::ops {
namespace {

using CpuAttention = CpuTarget;
INSTANTIATE_TEST_SUITE_P(Targets, CpuAttention, cpu_targets(), cpu_target_name);

constexpr int64_t kHeads = 4, kKeyHeads = 2;

// The keys, values and queries of some sequences, and caches of any number of places made of them.
struct Sequences {
  int64_t count, length, hs;
  std::vector<float> q, k, v;

  Sequences(int64_t sequences, int64_t tokens, int64_t head_size)
      : count(sequences), length(tokens), hs(head_size) {
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    const auto make = [&](std::vector<float>& x, int64_t heads) {
      x.resize(static_cast<size_t>(count * heads * length * hs));
      for (float& value : x) value = normal(random);
    };
    make(q, kHeads);
    make(k, kKeyHeads);
    make(v, kKeyHeads);
  }

  // Outputs (sequences, heads, tokens, hs) of the tokens [first, first + tokens) of sequences [b, b
  // + n).
  std::vector<float> attend(Stream& stream, int64_t b, int64_t n, int64_t first, int64_t tokens,
                            int64_t places) const {
    const float garbage = std::numeric_limits<float>::quiet_NaN();
    std::vector<float> k_cache(static_cast<size_t>(n * kKeyHeads * places * hs), garbage);
    std::vector<float> v_cache = k_cache;
    for (int64_t i = 0; i < n * kKeyHeads; ++i) {
      const int64_t from = (b * kKeyHeads + i) * length * hs, filled = (first + tokens) * hs;
      std::copy_n(k.data() + from, filled, k_cache.data() + i * places * hs);
      std::copy_n(v.data() + from, filled, v_cache.data() + i * places * hs);
    }
    std::vector<float> queries, out(static_cast<size_t>(n * kHeads * tokens * hs), garbage);
    for (int64_t i = 0; i < n * kHeads; ++i) {
      const auto at = q.begin() + ((b * kHeads + i) * length + first) * hs;
      queries.insert(queries.end(), at, at + tokens * hs);
    }
    std::vector<int32_t> lengths(static_cast<size_t>(n), static_cast<int32_t>(first + tokens));
    const auto tensor = [](std::vector<float>& x, int64_t n0, int64_t n1, int64_t n2, int64_t n3) {
      return Tensor::host(x.data(), DType::float32, {n0, n1, n2, n3});
    };
    attention_inference(stream, {.out = tensor(out, n, kHeads, tokens, hs),
                                 .q = tensor(queries, n, kHeads, tokens, hs),
                                 .k_cache = tensor(k_cache, n, kKeyHeads, places, hs),
                                 .v_cache = tensor(v_cache, n, kKeyHeads, places, hs),
                                 .lengths = Tensor::host(lengths.data(), DType::int32, {n})});
    stream.wait();
    return out;
  }
};

TEST_P(CpuAttention, InferenceIsRowInvariant) {
  Executor one(1), three(3);
  Scratch scratch_one(1), scratch_three(3);
  Stream alone(backend("cpu"), one, scratch_one), shared(backend("cpu"), three, scratch_three);
  for (int64_t hs : {24, 64, 80}) {
    const int64_t T = 137;
    const Sequences sequences(3, T, hs);
    const std::vector<float> whole = sequences.attend(shared, 0, 3, 0, T, T + 9);
    for (int64_t b = 0; b < 3; ++b) {
      for (int64_t t = 0; t < T; ++t) {
        const std::vector<float> single = sequences.attend(alone, b, 1, t, 1, t + 1 + t % 5);
        for (int64_t h = 0; h < kHeads; ++h) {
          ASSERT_EQ(
              0, std::memcmp(single.data() + h * hs, whole.data() + ((b * kHeads + h) * T + t) * hs,
                             static_cast<size_t>(hs) * sizeof(float)))
              << "sequence " << b << ", head " << h << ", token " << t << ", head size " << hs;
        }
      }
    }
  }
}

}  // namespace
}  // namespace msltx::ops
