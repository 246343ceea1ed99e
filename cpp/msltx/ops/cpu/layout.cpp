// Transposition. Faster than the reference: tile by tile, so that a line of memory is used whole
// while it is in cache, on the side that is read as on the side that is written.
#include <algorithm>

#include "msltx/ops/cpu/cpu.h"
#include "msltx/ops/cpu/tasks.h"

namespace msltx::ops {
namespace {

using namespace cpu;

constexpr int64_t kTile = 16;     // numbers of float32 in a line of 64 bytes
constexpr int64_t kStrip = 1024;  // rows of x that a task goes through

void transpose(Stream& stream, const Transpose& op) {
  const int64_t M = op.x.dim(0), C = op.x.dim(1);
  const Matrix out = matrix(op.out), x = matrix(op.x);
  const int64_t across = ceil_div(C, kTile);
  stream.parallel_for(ceil_div(M, kStrip) * across, [&](int64_t task, int) {
    const int64_t first_c = task % across * kTile, end_c = std::min(C, first_c + kTile);
    const int64_t first_m = task / across * kStrip, end_m = std::min(M, first_m + kStrip);
    for (int64_t tile = first_m; tile < end_m; tile += kTile) {
      for (int64_t c = first_c; c < end_c; ++c) {
        float* to = out.row(c);
        for (int64_t m = tile; m < std::min(end_m, tile + kTile); ++m) to[m] = x.row(m)[c];
      }
    }
  });
}

}  // namespace

void CpuBackend::add_layout() { add<transpose>(); }

}  // namespace msltx::ops
