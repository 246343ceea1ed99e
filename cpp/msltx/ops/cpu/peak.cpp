// The machine's matrix peak, which speeds are given as a share of: the best of ten products of
// 2048 x 2048 x 2048 with a packed weight, in row tiles on all workers. Eight tiles do not go
// evenly over any number of workers, so as many products run at once as make them.
#include <algorithm>
#include <chrono>
#include <numeric>

#include "msltx/ops/cpu/cpu.h"
#include "msltx/ops/cpu/onednn.h"
#include "msltx/ops/cpu/tasks.h"
#include "msltx/ops/cpu/tiles.h"

namespace msltx::ops {
namespace {

constexpr int64_t kSize = 2048;
constexpr int64_t kRows = 256;  // of a tile; 64 reach 4-8 % less
constexpr int kRepetitions = 10;

}  // namespace

double CpuBackend::matrix_peak(Executor& executor, DType dtype) const {
  if (dtype == DType::bfloat16 && !cpu::has_bfloat16_products()) return 0;
  constexpr int64_t kTiles = kSize / kRows;
  const int64_t products = executor.threads() / std::gcd<int64_t>(executor.threads(), kTiles);
  Arena arena((2 + products) * kSize * kSize * cpu::kFloat +
              executor.threads() * Arena::aligned(cpu::product_scratch(kSize)));
  const Tensor x = arena.allocate(dtype, {kSize, kSize});
  const Tensor weight = arena.allocate(dtype, {kSize, kSize});  // packed as it is
  const Tensor y = arena.allocate(dtype, {products * kSize, kSize});
  const Tensor scratch = arena.allocate(
      DType::uint8, {executor.threads(), Arena::aligned(cpu::product_scratch(kSize))});
  for (const Tensor& t : {x, weight}) {
    cpu::with_type(dtype, [&]<class T>(T) { std::fill_n(t.data<T>(), t.size(), T(0.5f)); });
  }

  using Clock = std::chrono::steady_clock;
  double best = 0;
  for (int i = 0; i < kRepetitions; ++i) {
    executor.check_cancelled();
    const auto begin = Clock::now();
    executor.parallel_for(products * kTiles, [&](int64_t task, int worker) {
      const int64_t tile = kRows * kSize * size_of(dtype);
      cpu::run({.rows = kRows, .inner = kSize, .outer = kSize, .from = dtype, .to = dtype},
               y.data<std::byte>() + task * tile, x.data<std::byte>() + task % kTiles * tile,
               weight.data<void>(), nullptr,
               scratch.data<std::byte>() + worker * scratch.stride(0));
    });
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    best = std::max(best, 2.0 * static_cast<double>(products) * kSize * kSize * kSize / seconds);
  }
  return best;
}

}  // namespace msltx::ops
