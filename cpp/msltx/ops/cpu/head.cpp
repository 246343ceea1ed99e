// The output projection and its cross entropy in one op: logits live in a tile of rows while it is
// in cache, and as gradients in a block of rows until the weight gradient has read them. Faster
// than separate ops by what writing and reading N x V logits costs; one exponential per logit.
//
// A block of rows is cut so that its gradients fit kBlockBytes. Its row tiles make logits, losses,
// d_logits and d_hidden; then tiles of d_weight add their part. Blocks come one after the other and
// losses are added up in row order, so the bits do not depend on the threads.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "msltx/ops/cpu/cpu.h"
#include "msltx/ops/cpu/onednn.h"
#include "msltx/ops/cpu/packed.h"
#include "msltx/ops/cpu/rows.h"
#include "msltx/ops/cpu/tiles.h"
#include "msltx/ops/stream.h"

namespace msltx::ops {
namespace {

using namespace cpu;

// Room for the logits' gradients of a block: larger blocks pass over d_weight less often.
constexpr int64_t kBlockBytes = int64_t{64} << 20;
constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Columns of logits that the loss alone makes at a time: 128 rows of them are 512 KiB.
constexpr int64_t kLossColumns = 1024;

// Rows of a task: fewer cost up to 10 % of the products' speed, but keep more workers busy.
int64_t tile_rows(int64_t rows) {
  return even_tile(rows, rows >= 1024 ? 128 : rows >= 256 ? 64 : 32);
}

float sum_in_order(const double* losses, int64_t rows, float scale) {
  double sum = 0;
  for (int64_t n = 0; n < rows; ++n) sum += losses[n];
  return static_cast<float>(sum * double{scale});
}

// The rows of `hidden` from `row` on, brought together in `room` where they lie apart.
const float* hidden_rows(const Tensor& hidden, int64_t row, int64_t rows, float* room) {
  const float* x = hidden.data() + row * hidden.stride(0);
  if (close_rows(hidden)) return x;
  copy_rows(room, hidden.dim(1), x, hidden.stride(0), rows, hidden.dim(1));
  return room;
}

// Loss alone --------------------------------------------------------------------------------------

struct LossCut {
  int64_t rows, columns;
  TileScratch scratch;
  int64_t losses, bytes;  // shared: the packed weight, then N losses

  explicit LossCut(const LinearCrossEntropyForward& op)
      : rows(tile_rows(op.hidden.dim(0))),
        columns(even_tile(op.weight.dim(0), kLossColumns, kPanel)),
        scratch(op.hidden.dim(1), close_rows(op.hidden) ? 0 : rows * op.hidden.dim(1),
                rows * columns),
        losses(packing_scratch(op.weight, Form::forward)),
        bytes(losses + op.hidden.dim(0) * int64_t{sizeof(double)}) {}
};

ScratchNeed linear_cross_entropy_forward_scratch(const LinearCrossEntropyForward& op) {
  const LossCut cut(op);
  return {cut.scratch.bytes + cut.rows * 2 * int64_t{sizeof(double)}, cut.bytes};
}

void linear_cross_entropy_forward(Stream& stream, const LinearCrossEntropyForward& op) {
  const int64_t N = op.hidden.dim(0), C = op.hidden.dim(1), V = op.weight.dim(0);
  const LossCut cut(op);
  const float* weight = packed(stream, op.weight, Form::forward, stream.shared_scratch());
  const float* bias = op.bias.defined() ? op.bias.data() : nullptr;
  const auto* targets = op.targets.data<int32_t>();
  auto* losses = reinterpret_cast<double*>(stream.shared_scratch() + cut.losses);

  stream.parallel_for(divide_up(N, cut.rows), [&](int64_t task, int worker) {
    const int64_t row = task * cut.rows, rows = std::min(cut.rows, N - row);
    const int32_t* target = targets + row;
    double* loss = losses + row;
    std::fill_n(loss, rows, 0.0);
    if (std::all_of(target, target + rows, [&](int32_t t) { return t == op.ignore_index; })) return;
    std::byte* scratch = stream.worker_scratch(worker);
    const float* x = hidden_rows(op.hidden, row, rows, TileScratch::at(scratch, cut.scratch.x));
    float* logits = TileScratch::at(scratch, cut.scratch.y);
    // Of the columns so far, log(sum of exp) = top + log(total).
    auto* top = reinterpret_cast<double*>(scratch + cut.scratch.bytes);
    double* total = top + cut.rows;
    std::fill_n(top, rows, -kInfinity);
    std::fill_n(total, rows, 0.0);
    for (int64_t v = 0; v < V; v += cut.columns) {
      const int64_t columns = std::min(cut.columns, V - v);
      run({.rows = rows, .inner = C, .outer = columns, .bias = bias != nullptr}, logits, x,
          weight + v / kPanel * panel_stride(C), bias ? bias + v : nullptr, scratch);
      for (int64_t r = 0; r < rows; ++r) {
        const float* l = logits + r * columns;
        const double lse = log_sum_exp(l, columns);
        if (lse > top[r]) {
          total[r] = total[r] * std::exp(top[r] - lse) + 1;
          top[r] = lse;
        } else if (lse != -kInfinity) {
          total[r] += std::exp(lse - top[r]);  // NaN where lse is
        }
        if (target[r] >= v && target[r] < v + columns) loss[r] -= double{l[target[r] - v]};
      }
    }
    for (int64_t r = 0; r < rows; ++r) {
      loss[r] = target[r] == op.ignore_index ? 0 : loss[r] + top[r] + std::log(total[r]);
    }
  });
  op.loss.data()[0] = sum_in_order(losses, N, op.scale);
}

// Loss and gradients ------------------------------------------------------------------------------

struct HeadCut {
  int64_t block, rows;  // rows of a block and of a tile
  TileScratch scratch;
  int64_t backward_form, losses, d_logits, bytes;  // shared, after the packed forward form

  explicit HeadCut(const LinearCrossEntropyForwardBackward& op) : scratch(0, 0, 0) {
    const int64_t N = op.hidden.dim(0), C = op.hidden.dim(1), V = op.weight.dim(0);
    rows = tile_rows(N);
    block = std::max<int64_t>(1, kBlockBytes / (V * kFloat) / rows) * rows;
    block = round_up(even_tile(N, block), rows);
    scratch = TileScratch(std::max(C, V), close_rows(op.hidden) ? 0 : rows * C,
                          close_rows(op.d_hidden) ? 0 : rows * C);
    backward_form = packing_scratch(op.weight, Form::forward);
    losses = backward_form + packing_scratch(op.weight, Form::backward);
    d_logits = losses + Arena::aligned(N * int64_t{sizeof(double)});
    bytes = d_logits + std::min(block, N) * V * kFloat;
  }
};

ScratchNeed linear_cross_entropy_forward_backward_scratch(
    const LinearCrossEntropyForwardBackward& op) {
  const HeadCut cut(op);
  return {cut.scratch.bytes, cut.bytes};
}

void linear_cross_entropy_forward_backward(Stream& stream,
                                           const LinearCrossEntropyForwardBackward& op) {
  const int64_t N = op.hidden.dim(0), C = op.hidden.dim(1), V = op.weight.dim(0);
  const HeadCut cut(op);
  std::byte* shared = stream.shared_scratch();
  const float* forward = packed(stream, op.weight, Form::forward, shared);
  const float* backward = packed(stream, op.weight, Form::backward, shared + cut.backward_form);
  const float* bias = op.bias.defined() ? op.bias.data() : nullptr;
  const auto* targets = op.targets.data<int32_t>();
  auto* losses = reinterpret_cast<double*>(shared + cut.losses);
  auto* d_logits = TileScratch::at(shared, cut.d_logits);
  const GradientCut gradient(V, C);

  // Rows [row, row + rows), of a block that begins at `first`.
  const auto row_tile = [&](int64_t first, int64_t row, int64_t rows, std::byte* scratch) {
    float* logits = d_logits + (row - first) * V;
    const float* x = hidden_rows(op.hidden, row, rows, TileScratch::at(scratch, cut.scratch.x));
    run({.rows = rows, .inner = C, .outer = V, .bias = bias != nullptr}, logits, x, forward, bias,
        scratch);
    for (int64_t r = 0; r < rows; ++r) {
      const int32_t target = targets[row + r];
      if (target == op.ignore_index) {
        losses[row + r] = 0;
        std::fill_n(logits + r * V, V, 0.0f);
      } else {
        losses[row + r] = cross_entropy_row(logits + r * V, V, target, op.scale);
      }
    }
    float* d_hidden = op.d_hidden.data() + row * op.d_hidden.stride(0);
    const bool direct = close_rows(op.d_hidden);
    float* y = direct ? d_hidden : TileScratch::at(scratch, cut.scratch.y);
    run({.rows = rows, .inner = V, .outer = C}, y, logits, backward, nullptr, scratch);
    if (!direct) copy_rows(d_hidden, op.d_hidden.stride(0), y, C, rows, C);
  };
  const auto gradient_tile = [&](int64_t first, int64_t rows, int64_t task) {
    const int64_t v = task / gradient.across * gradient.outputs;
    const int64_t c = task % gradient.across * gradient.inputs;
    const int64_t outputs = std::min(gradient.outputs, V - v);
    const bool add = op.accumulate || first > 0;
    run_transposed(op.d_weight.data() + v * op.d_weight.stride(0) + c, op.d_weight.stride(0),
                   d_logits + v, V, op.hidden.data() + first * op.hidden.stride(0) + c,
                   op.hidden.stride(0), outputs, std::min(gradient.inputs, C - c), rows, add);
    if (c > 0 || !op.d_bias.defined()) return;
    std::array<float, 384> sums;  // the tallest tile of a GradientCut
    column_sums(sums.data(), d_logits + v, rows, outputs, V);
    float* d_bias = op.d_bias.data() + v;
    for (int64_t i = 0; i < outputs; ++i) {
      d_bias[i] = add ? d_bias[i] + sums[static_cast<size_t>(i)] : sums[static_cast<size_t>(i)];
    }
  };

  for (int64_t first = 0; first == 0 || first < N; first += cut.block) {
    const int64_t rows = std::min(cut.block, N - first);
    stream.parallel_for(divide_up(rows, cut.rows), [&](int64_t task, int worker) {
      const int64_t row = first + task * cut.rows;
      row_tile(first, row, std::min(cut.rows, first + rows - row), stream.worker_scratch(worker));
    });
    stream.parallel_for(gradient.tiles,
                        [&](int64_t task, int) { gradient_tile(first, rows, task); });
  }
  op.loss.data()[0] = sum_in_order(losses, N, op.scale);
}

}  // namespace

void CpuBackend::add_head() {
  add<linear_cross_entropy_forward, linear_cross_entropy_forward_scratch>();
  add<linear_cross_entropy_forward_backward, linear_cross_entropy_forward_backward_scratch>();
}

}  // namespace msltx::ops
