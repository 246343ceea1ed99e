// linear of the cpu backend: against the reference, with the same bits for any cut of the rows, any
// number of threads and both kinds of stream, and on the kernels of oneDNN that are fast.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "msltx/ops/cpu/onednn.h"
#include "msltx/ops/ops.h"
#include "msltx/ops/weight.h"
#include "ops/matrix.h"

namespace msltx::ops {
namespace {

struct Shape {
  int64_t N, C, O;
};

const Shape kShapes[] = {{1, 1, 1},     {3, 7, 65},     {5, 64, 64},      {200, 33, 130},
                         {300, 65, 63}, {129, 513, 70}, {600, 130, 1025}, {2, 2049, 40}};

TEST(CpuLinear, ForwardIsTheReference) {
  Runner cpu, reference("reference");
  for (const auto& [N, C, O] : kShapes) {
    for (const int64_t gap : {0, 3}) {
      for (const Activation activation : {Activation::none, Activation::gelu_tanh}) {
        Matrix x = Matrix::random(N, C, 1, gap), w = Matrix::random(O, C, 2, gap);
        Matrix bias = Matrix::random(1, O, 3), out(N, O, gap), pre(N, O, gap), out2 = out,
               pre2 = pre;
        const bool full = activation != Activation::none;
        LinearForward op{.out = out.tensor(),
                         .pre = full ? pre.tensor() : Tensor{},
                         .x = x.tensor(),
                         .weight = w.tensor(),
                         .bias = full ? bias.vector() : Tensor{},
                         .activation = activation};
        cpu.run(op);
        op.out = out2.tensor();
        if (full) op.pre = pre2.tensor();
        reference.run(op);
        expect_near(out, out2, C, "out");
        if (full) expect_near(pre, pre2, C, "pre");
      }
    }
  }
}

TEST(CpuLinear, BackwardIsTheReference) {
  Runner cpu, reference("reference");
  for (const auto& [N, C, O] : kShapes) {
    for (const int64_t partial_rows : {0, 1, 50, 150, 257}) {
      const bool gelu = partial_rows % 2 == 0;
      const int64_t gap = partial_rows == 50 ? 5 : 0;
      const int64_t P = partial_rows ? (N + partial_rows - 1) / partial_rows : 1;
      Matrix d_out = Matrix::random(N, O, 1, gap), w = Matrix::random(O, C, 2);
      Matrix pre = Matrix::random(N, O, 3, gap), x = Matrix::random(N, C, 4, gap);
      Matrix d_x(N, C, gap), d_pre(N, O, gap), partials(P, O), d_w = Matrix::random(O, C, 5),
                                                               d_bias = Matrix::random(1, O, 6);
      Matrix d_x2 = d_x, d_pre2 = d_pre, partials2 = partials, d_w2 = d_w, d_bias2 = d_bias;
      const auto run = [&](Runner& runner, Matrix& dx, Matrix& dp, Matrix& parts, Matrix& dw,
                           Matrix& db) {
        runner.run(LinearBackwardData{.d_x = dx.tensor(),
                                      .d_pre = gelu ? dp.tensor() : Tensor{},
                                      .d_bias_partials = parts.tensor(),
                                      .d_out = d_out.tensor(),
                                      .weight = w.tensor(),
                                      .pre = gelu ? pre.tensor() : Tensor{},
                                      .activation = gelu ? Activation::gelu : Activation::none,
                                      .partial_rows = partial_rows});
        runner.run(LinearBackwardWeights{.d_weight = dw.tensor(),
                                         .d_bias = db.vector(),
                                         .x = x.tensor(),
                                         .d_pre = gelu ? dp.tensor() : d_out.tensor(),
                                         .d_bias_partials = parts.tensor(),
                                         .accumulate = partial_rows == 1});
      };
      run(cpu, d_x, d_pre, partials, d_w, d_bias);
      run(reference, d_x2, d_pre2, partials2, d_w2, d_bias2);
      expect_near(d_x, d_x2, O, "d_x");
      if (gelu) expect_near(d_pre, d_pre2, 1, "d_pre");
      expect_near(partials, partials2, N, "d_bias_partials");
      expect_near(d_w, d_w2, N, "d_weight");
      expect_near(d_bias, d_bias2, N, "d_bias");
    }
  }
}

// Decoding a token must give what the same token got in a prompt.
TEST(CpuLinear, ARowHasTheSameBitsForAnyNumberOfRows) {
  Runner runner;
  for (const auto& [N, C, O] : {Shape{300, 384, 1152}, {300, 1536, 384}, {300, 96, 1776}}) {
    Matrix x = Matrix::random(N, C, 1), w = Matrix::random(O, C, 2), bias = Matrix::random(1, O, 3);
    Weight weight;
    LinearForward op{.weight = w.tensor(), .bias = bias.vector()};
    op.weight.weight = &weight;
    runner.executor.run(
        [&] { runner.stream.backend().prepare_weight(runner.stream, op.weight, {}); });
    Matrix all(N, O);
    op.out = all.tensor(), op.x = x.tensor();
    runner.run(op);
    for (const bool serial : {false, true}) {
      for (int64_t rows = 1; rows <= N; rows += C == 96 || rows < 20 ? 1 : 23) {
        Matrix out(rows, O);
        op.out = out.tensor();
        op.x = x.tensor().rows(0, rows);
        runner.run(op, serial);
        ASSERT_TRUE(out.same_bits(all, rows)) << rows << " rows, width " << C;
      }
    }
  }
}

TEST(CpuLinear, SameBitsAtAnyThreadCountAndOnBothStreams) {
  const int64_t N = 1287, C = 200, O = 330;
  Matrix x = Matrix::random(N, C, 1), w = Matrix::random(O, C, 2), d_out = Matrix::random(N, O, 3);
  for (const int64_t partial_rows : {64, 515}) {
    std::vector<Matrix> first;
    for (const int threads : {1, 2, 3, 8}) {
      for (const bool serial : {false, true}) {
        Runner runner("cpu", threads);
        const int64_t P = (N + partial_rows - 1) / partial_rows;
        std::vector<Matrix> made{{N, O}, {N, C}, {P, O}, {O, C}, {1, O}};
        runner.run(LinearForward{.out = made[0].tensor(), .x = x.tensor(), .weight = w.tensor()},
                   serial);
        runner.run(LinearBackwardData{.d_x = made[1].tensor(),
                                      .d_bias_partials = made[2].tensor(),
                                      .d_out = d_out.tensor(),
                                      .weight = w.tensor(),
                                      .partial_rows = partial_rows},
                   serial);
        runner.run(LinearBackwardWeights{.d_weight = made[3].tensor(),
                                         .d_bias = made[4].vector(),
                                         .x = x.tensor(),
                                         .d_pre = d_out.tensor(),
                                         .d_bias_partials = made[2].tensor()},
                   serial);
        if (first.empty()) first = made;
        for (size_t i = 0; i < made.size(); ++i) {
          EXPECT_TRUE(made[i].same_bits(first[i], made[i].rows)) << i << ", " << threads;
        }
      }
    }
    // What chunks on their own make of their rows; the last one has fewer.
    Runner runner;
    for (int64_t row = 0, p = 0; row < N; row += partial_rows, ++p) {
      const int64_t rows = std::min(partial_rows, N - row);
      Matrix d_x(rows, C), partials(1, O), all_d_x = first[1], all_partials = first[2];
      runner.run(LinearBackwardData{.d_x = d_x.tensor(),
                                    .d_bias_partials = partials.tensor(),
                                    .d_out = d_out.tensor().rows(row, rows),
                                    .weight = w.tensor(),
                                    .partial_rows = partial_rows},
                 true);
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < C; ++c) ASSERT_EQ(d_x.at(r, c), all_d_x.at(row + r, c));
      }
      for (int64_t o = 0; o < O; ++o) ASSERT_EQ(partials.at(0, o), all_partials.at(p, o));
    }
  }
}

TEST(CpuLinear, FormsFollowTheVersionOfTheWeight) {
  Runner runner;
  Matrix x = Matrix::random(4, 20, 1), w = Matrix::random(70, 20, 2);
  Weight weight;
  LinearForward op{.x = x.tensor(), .weight = w.tensor()};
  op.weight.weight = &weight;
  const auto forward = [&](bool with_forms) {
    Matrix out(4, 70);
    op.out = out.tensor();
    op.weight.weight = with_forms ? &weight : nullptr;
    runner.run(op);
    return out;
  };
  const auto prepare = [&] {
    runner.executor.run([&] {
      Tensor t = w.tensor();
      t.weight = &weight;
      runner.stream.backend().prepare_weight(runner.stream, t, {.forward = true, .backward = true});
    });
  };
  prepare();
  const int64_t bytes = (2 * 32 * 64 + 80 * 64) * 4;
  EXPECT_EQ(weight.forms->bytes(), bytes);
  Matrix before = forward(true);
  w.at(3, 5) += 1;
  Matrix unseen = forward(true);
  EXPECT_TRUE(unseen.same_bits(before, 4)) << "a form in use is as old as the version says";
  ++weight.version;
  Matrix plain = forward(false), stale = forward(true);
  EXPECT_FALSE(plain.same_bits(before, 4));
  EXPECT_TRUE(stale.same_bits(plain, 4)) << "a form out of date is not used";
  prepare();
  Matrix after = forward(true);
  EXPECT_TRUE(after.same_bits(plain, 4));
  EXPECT_EQ(weight.forms->bytes(), bytes);
}

// oneDNN falls back without a word to kernels that are many times slower.
TEST(CpuLinear, ProductsOfTheModelsRunOnTheFastKernel) {
  if (cpu::implementation({.rows = 64, .inner = 64, .outer = 64}).find("brg") ==
      std::string::npos) {
    GTEST_SKIP() << "this machine has no AVX-512 kernel in oneDNN";
  }
  const Shape widths[] = {
      {0, 128, 1776}, {0, 256, 1776}, {0, 384, 1776}, {0, 384, 32000}, {0, 768, 50257}};
  for (const auto& [unused, C, V] : widths) {
    for (const auto& [in, out] :
         {std::pair{C, 3 * C}, {C, C}, {C, 4 * C}, {4 * C, C}, {3 * C, C}, {C, V}, {V, C}}) {
      for (const int64_t rows : {1, 8, 60, 128, 256}) {
        for (const bool bias : {false, true}) {
          const cpu::Product product{.rows = rows, .inner = in, .outer = out, .bias = bias};
          EXPECT_EQ(cpu::implementation(product), "brg:avx512_core")
              << rows << " " << in << " " << out;
          if (!cpu::has_bfloat16_products()) continue;
          for (const DType to : {DType::float32, DType::bfloat16}) {
            cpu::Product narrow = product;
            narrow.from = DType::bfloat16;
            narrow.to = to;
            EXPECT_EQ(cpu::implementation(narrow).find("brg"), 0u)
                << rows << " " << in << " " << out;
          }
        }
      }
    }
  }
}

// The same rows of bfloat16, whatever goes with them, in either type of result.
TEST(CpuLinear, ARowOfBfloat16HasTheSameBitsForAnyNumberOfRows) {
  Runner runner;
  for (const auto& [N, C, O] : {Shape{300, 384, 1152}, {300, 1536, 384}, {300, 97, 1776}}) {
    Matrix x = Matrix::random(N, C, 1), w = Matrix::random(O, C, 2), bias = Matrix::random(1, O, 3);
    std::vector<bfloat16> narrow;
    for (const float value : x.data) narrow.push_back(bfloat16(value));
    Weight weight;
    LinearForward op{.weight = w.tensor(), .bias = bias.vector()};
    op.weight.weight = &weight;
    runner.executor.run([&] {
      runner.stream.backend().prepare_weight(runner.stream, op.weight,
                                             {.forward = true, .compute = DType::bfloat16});
    });
    const auto rows_of = [&](int64_t rows) {
      return Tensor::host(narrow.data(), DType::bfloat16, {rows, C});
    };
    Matrix all(N, O);
    op.out = all.tensor(), op.x = rows_of(N);
    runner.run(op);
    for (const bool serial : {false, true}) {
      for (int64_t rows = 1; rows <= N; rows += rows < 20 ? 1 : 23) {
        Matrix out(rows, O);
        op.out = out.tensor(), op.x = rows_of(rows);
        runner.run(op, serial);
        ASSERT_TRUE(out.same_bits(all, rows)) << rows << " rows, width " << C;
      }
    }
  }
}

}  // namespace
}  // namespace msltx::ops
