// Conversion between float32 and bfloat16. Faster than the reference: whole vectors (rows.h).
#include "msltx/ops/cpu/cpu.h"
#include "msltx/ops/cpu/rows.h"
#include "msltx/ops/cpu/tasks.h"

namespace msltx::ops {
namespace {

using namespace cpu;

void cast(Stream& stream, const Cast& op) {
  const int64_t N = op.x.dim(0), C = op.x.dim(1);
  for_row_blocks(stream, N, C, [&](int64_t n, int64_t rows, int) {
    convert_rows(AnyMatrix(op.out, n), AnyMatrix(op.x, n), rows, C);
  });
}

}  // namespace

void CpuBackend::add_cast() { add<cast>(true); }

}  // namespace msltx::ops
