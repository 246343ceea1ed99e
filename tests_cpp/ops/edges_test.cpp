// The ends of the range of every backend: what is not a number stays that, sums over more rows than
// there are, rows that lie apart.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "msltx/base/error.h"
#include "msltx/ops/chunks.h"
#include "msltx/ops/ops.h"
#include "msltx/ops/weight.h"
#include "ops/matrix.h"

namespace msltx::ops {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class Edges : public testing::TestWithParam<const Backend*> {
 protected:
  Runner runner_{GetParam()->name()};
};

INSTANTIATE_TEST_SUITE_P(Backends, Edges, testing::ValuesIn(backends().begin(), backends().end()),
                         [](const auto& param) { return std::string(param.param->name()); });

Tensor tensor(std::vector<float>& data, std::initializer_list<int64_t> shape) {
  return Tensor::host(data.data(), DType::float32, shape);
}

bool all_nan(const std::vector<float>& x) {
  return std::all_of(x.begin(), x.end(), [](float v) { return std::isnan(v); });
}

TEST_P(Edges, AttentionHidesNoNan) {
  for (const int64_t T : {1, 2, 5, 8, 15, 16, 17, 33, 300}) {
    const auto n = static_cast<size_t>(T * 8);
    std::vector<float> q(n, 1.0f), k(n, kNan), v(n, 1.0f), out(n), lse(static_cast<size_t>(T));
    const auto heads = [&](std::vector<float>& x) { return tensor(x, {1, 1, T, 8}); };
    runner_.run(FlashAttentionForward{.out = heads(out),
                                      .lse = tensor(lse, {1, 1, T}),
                                      .q = heads(q),
                                      .k = heads(k),
                                      .v = heads(v)});
    EXPECT_TRUE(all_nan(out) && all_nan(lse)) << T;

    std::fill(out.begin(), out.end(), 7.0f);
    std::vector<int32_t> lengths{static_cast<int32_t>(T)};
    runner_.run(AttentionInference{.out = heads(out),
                                   .q = heads(q),
                                   .k_cache = heads(k),
                                   .v_cache = heads(v),
                                   .lengths = Tensor::host(lengths.data(), DType::int32, {1})});
    EXPECT_TRUE(all_nan(out)) << T;
  }
}

TEST_P(Edges, SoftmaxHidesNoNanAndMakesNone) {
  for (const int64_t C : {1, 2, 15, 16, 17, 40, 200}) {
    for (const int64_t at : {int64_t{0}, C / 2, C - 1}) {
      std::vector<float> x(static_cast<size_t>(C), -kInf), out(x.size(), kNan);
      const SoftmaxForward op{.out = tensor(out, {1, C}), .x = tensor(x, {1, C})};
      runner_.run(op);
      EXPECT_EQ(out, std::vector<float>(x.size(), 0.0f)) << C;
      x[static_cast<size_t>(at)] = kNan;
      runner_.run(op);
      EXPECT_TRUE(all_nan(out)) << at << " of " << C;
    }
  }
}

// Decoding with Transformer-XL's positions meets rows of any length, masked from a place on. What
// bfloat16 rounds away is most of a difference, hence so many rows.
TEST_P(Edges, SoftmaxHasTheSameBitsHoweverManyPlacesAreMaskedBehind) {
  constexpr int64_t kRows = 400;
  std::mt19937 bits(3);
  std::normal_distribution<float> normal(0.0f, 2.0f);
  for (const DType type : {DType::float32, DType::bfloat16}) {
    for (const int64_t C : {40, 65, 70, 100, 105, 110, 135, 150, 170, 190}) {
      const int64_t all = 300, size = size_of(type);
      std::vector<float> x(kRows * all, -kInf);
      for (int64_t i = 0; i < kRows * all; ++i) {
        if (i % all < C) x[static_cast<size_t>(i)] = normal(bits);
      }
      std::vector<std::byte> masked(x.size() * static_cast<size_t>(size)), cut(masked.size());
      const auto rows = [&](std::vector<std::byte>& memory, int64_t columns) {
        return Tensor::host(memory.data(), type, {kRows, all}).slice(1, 0, columns);
      };
      for (auto* memory : {&masked, &cut}) {
        runner_.run(
            Cast{.out = rows(*memory, all),
                 .x = tensor(x, {kRows, all}),
                 .dtype = type == DType::float32 ? FloatType::float32 : FloatType::bfloat16});
        const Tensor part = rows(*memory, memory == &cut ? C : all);
        runner_.run(SoftmaxForward{.out = part, .x = part});
      }
      int64_t differ = 0;
      for (int64_t r = 0; r < kRows; ++r) {
        const auto at = static_cast<size_t>(r * all * size), count = static_cast<size_t>(C * size);
        differ += std::memcmp(&masked[at], &cut[at], count) != 0;
      }
      EXPECT_EQ(differ, 0) << name_of(type) << " " << C;
    }
  }
}

TEST_P(Edges, PartialSumsOverMoreRowsThanThereAre) {
  Matrix x = Matrix::random(3, 5, 1), d_out = Matrix::random(3, 5, 2), gamma(1, 5, 0);
  gamma.data.assign(5, 1.0f);
  const auto partials = [&](int64_t partial_rows) {
    Matrix d_x(3, 5), d_gamma(1, 5), d_beta(1, 5);
    runner_.run(LayernormBackwardData{.d_x = d_x.tensor(),
                                      .d_gamma_partials = d_gamma.tensor(),
                                      .d_beta_partials = d_beta.tensor(),
                                      .d_out = d_out.tensor(),
                                      .x = x.tensor(),
                                      .gamma = gamma.vector(),
                                      .partial_rows = partial_rows});
    d_gamma.data.insert(d_gamma.data.end(), d_beta.data.begin(), d_beta.data.end());
    return d_gamma.data;
  };
  EXPECT_EQ(partials(int64_t{1} << 40), partials(0));
}

TEST_P(Edges, PartialSumsMayLieApart) {
  Matrix x = Matrix::random(6, 5, 1), d_out = Matrix::random(6, 5, 2), gamma(1, 5, 0);
  gamma.data.assign(5, 1.0f);
  Matrix apart(3, 5, 4), close(3, 5), d_x(6, 5);
  for (Matrix* partials : {&apart, &close}) {
    runner_.run(LayernormBackwardData{.d_x = d_x.tensor(),
                                      .d_gamma_partials = partials->tensor(),
                                      .d_out = d_out.tensor(),
                                      .x = x.tensor(),
                                      .gamma = gamma.vector(),
                                      .partial_rows = 2});
  }
  EXPECT_TRUE(apart.same_bits(close, 3));
}

TEST_P(Edges, KeptFormsTakeWhatWasForetold) {
  for (const WeightUse use : {WeightUse{true, false}, WeightUse{true, true}}) {
    Matrix values = Matrix::random(70, 33, 1);
    Weight owner;
    Tensor weight = values.tensor();
    weight.weight = &owner;
    runner_.executor.run(
        [&] { runner_.stream.backend().prepare_weight(runner_.stream, weight, use); });
    EXPECT_EQ(owner.forms ? owner.forms->bytes() : 0, GetParam()->prepared_bytes(weight, use));
  }
}

TEST(Chunks, OfNothingAreOneAtATime) {
  EXPECT_EQ(Chunking::of(0, 64, 128).chunks(), 0);
  EXPECT_EQ(Chunking::of(3, 0, 128).chunks(), 1);
}

TEST(Stream, ScratchForFewerWorkersThanThereAreIsRefused) {
  Executor executor(3);
  Scratch scratch(2);
  Stream stream(backend("reference"), executor, scratch);
  std::vector<float> x(4, 1.0f), norm(1);
  EXPECT_THROW(global_norm(stream, {.norm = tensor(norm, {1}), .x = tensor(x, {4})}), ValueError);
}

TEST(Stream, AShieldInsideAnotherLeavesItUp) {
  Executor executor(1);
  Scratch scratch(1);
  Stream stream(backend("reference"), executor, scratch);
  std::vector<float> x(4, 1.0f);
  executor.run([&] {
    const Stream::Shield outer(stream);
    executor.cancel();
    { const Stream::Shield inner(stream); }
    zero(stream, {.x = tensor(x, {4})});
  });
  EXPECT_EQ(x, std::vector<float>(4, 0.0f));
}

}  // namespace
}  // namespace msltx::ops
