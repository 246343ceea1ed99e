// linear on oneDNN: row tiles of packed products, with the activation and the bias gradient done on
// a tile while it is in cache. 2 workers of a Zen 4, shapes of the 11M model: forward and data
// gradients at 96-99 % of the machine's matrix peak, weight gradients at 97-100 %.
//
// Tasks are cut by shape, and nothing depends on the cut: a row of a product has the same bits in
// any tile (onednn.h), and sums over rows are taken per block of `partial_rows`, whose tiles start
// anew with every block.
#include <algorithm>

#include "msltx/ops/cpu/cpu.h"
#include "msltx/ops/cpu/onednn.h"
#include "msltx/ops/cpu/packed.h"
#include "msltx/ops/cpu/rows.h"
#include "msltx/ops/cpu/tiles.h"
#include "msltx/ops/stream.h"

namespace msltx::ops {
namespace {

using namespace cpu;

// A tile of 256 rows and its result stay in a cache of 1 MiB at width 384; fewer rows cost 2-5 %.
constexpr int64_t kMaxTileRows = 256;
// With fewer rows than 16 full tiles, halves keep more workers busy.
constexpr int64_t kFewRows = 16 * kMaxTileRows;
// Before or after an activation, whose both operands should stay in that cache with the tile.
constexpr int64_t kActivationRows = 128;
// Work of one task where one tile of rows is cut by columns: at least 128 KiB of weights, or
// 4 MFLOP; both take some 30 us.
constexpr int64_t kMinTaskWeights = int64_t{128} << 10;
constexpr int64_t kMinTaskFlops = 4'000'000;

int64_t largest_tile(Activation activation) {
  return activation == Activation::none ? kMaxTileRows : kActivationRows;
}

int64_t tile_rows(int64_t rows, Activation activation, bool serial) {
  const bool few = rows < kFewRows && !serial;
  return even_tile(rows, std::min(few ? kMaxTileRows / 2 : kMaxTileRows, largest_tile(activation)));
}

// Columns of one task where there is one tile of rows.
int64_t tile_columns(int64_t rows, int64_t inner) {
  const int64_t by_weights = kMinTaskWeights / (inner * kFloat);
  const int64_t by_flops = kMinTaskFlops / (2 * rows * inner);
  return round_up(std::max<int64_t>(1, std::min(by_weights, by_flops)), kPanel);
}

// Forward -----------------------------------------------------------------------------------------

struct ForwardCut {
  int64_t rows, columns;  // of a tile
  int64_t across;         // tiles beside each other
  TileScratch scratch;

  ForwardCut(const LinearForward& op, bool serial)
      : rows(tile_rows(op.x.dim(0), op.activation, serial)),
        columns(op.out.dim(1)),
        scratch(0, 0, 0) {
    const int64_t N = op.x.dim(0), C = op.x.dim(1);
    const bool by_columns = N <= rows && !serial;
    if (by_columns) columns = std::min(columns, tile_columns(N, C));
    across = divide_up(op.out.dim(1), columns);
    scratch = TileScratch(C, close_rows(op.x) ? 0 : rows * C,
                          close_rows(op.out) && !by_columns ? 0 : rows * columns);
  }
};

ScratchNeed linear_forward_scratch(const LinearForward& op) {
  if (op.out.size() == 0) return {};
  return {std::max(ForwardCut(op, false).scratch.bytes, ForwardCut(op, true).scratch.bytes),
          packing_scratch(op.weight, Form::forward)};
}

void linear_forward(Stream& stream, const LinearForward& op) {
  if (op.out.size() == 0) return;
  const int64_t N = op.x.dim(0), C = op.x.dim(1), O = op.weight.dim(0);
  const float* weight = packed(stream, op.weight, Form::forward, stream.shared_scratch());
  const float* bias = op.bias.defined() ? op.bias.data() : nullptr;
  const ForwardCut cut(op, stream.is_serial());

  stream.parallel_for(divide_up(N, cut.rows) * cut.across, [&](int64_t task, int worker) {
    const int64_t row = task / cut.across * cut.rows, rows = std::min(cut.rows, N - row);
    const int64_t column = task % cut.across * cut.columns;
    const int64_t columns = std::min(cut.columns, O - column);
    std::byte* scratch = stream.worker_scratch(worker);

    const float* x = op.x.data() + row * op.x.stride(0);
    if (!close_rows(op.x)) {
      float* together = TileScratch::at(scratch, cut.scratch.x);
      copy_rows(together, C, x, op.x.stride(0), rows, C);
      x = together;
    }
    float* out = op.out.data() + row * op.out.stride(0) + column;
    const bool direct = rows == 1 || (columns == O && close_rows(op.out));
    float* y = direct ? out : TileScratch::at(scratch, cut.scratch.y);
    run({.rows = rows, .inner = C, .outer = columns, .bias = bias != nullptr}, y, x,
        weight + column / kPanel * panel_stride(C), bias ? bias + column : nullptr, scratch);
    if (op.activation != Activation::none || op.pre.defined()) {
      float* pre = op.pre.defined() ? op.pre.data() + row * op.pre.stride(0) + column : nullptr;
      bias_activation_rows(y, pre, nullptr, rows, columns, direct ? op.out.stride(0) : columns,
                           pre ? op.pre.stride(0) : 0, op.activation);
    }
    if (!direct) copy_rows(out, op.out.stride(0), y, columns, rows, columns);
  });
}

// Backward for data -------------------------------------------------------------------------------

// How the rows are cut: blocks of partial_rows, each of several tiles; or tiles of several whole
// blocks. In the first case a block's sum is taken tile by tile, so that the tiles depend on
// partial_rows alone.
struct BackwardCut {
  int64_t block, blocks;
  int64_t rows;       // of a tile
  int64_t per_block;  // tiles in a block; 1 where a tile has whole blocks
  int64_t tiles;      // fewer in the last block if that has fewer rows

  BackwardCut(int64_t N, const LinearBackwardData& op, bool serial) {
    const bool sums = op.d_bias_partials.defined();
    const int64_t most = largest_tile(op.activation);
    block = std::max<int64_t>(1, sums && op.partial_rows > 0 ? op.partial_rows : N);
    blocks = std::max<int64_t>(1, divide_up(N, block));
    if (sums && block <= most) {
      rows = std::max<int64_t>(1, tile_rows(N, op.activation, serial) / block) * block;
      per_block = 1;
      tiles = std::max<int64_t>(1, divide_up(N, rows));
    } else {
      rows = sums ? even_tile(block, most) : tile_rows(block, op.activation, serial);
      per_block = divide_up(block, rows);
      tiles = std::max<int64_t>(1, N / block * per_block + divide_up(N % block, rows));
    }
  }
};

// Shared scratch: the packed weight, then the sums of a block's tiles.
int64_t tile_sums_bytes(const BackwardCut& cut, const LinearBackwardData& op) {
  return op.d_bias_partials.defined() && cut.per_block > 1 ? cut.tiles * op.d_out.dim(1) * kFloat
                                                           : 0;
}

TileScratch tile_scratch(const LinearBackwardData& op, int64_t rows) {
  const int64_t O = op.d_out.dim(1), C = op.weight.dim(1);
  const Tensor& d_pre = op.activation == Activation::none ? op.d_out : op.d_pre;
  return {O, d_pre.defined() && close_rows(d_pre) ? 0 : rows * O,
          close_rows(op.d_x) ? 0 : rows * C};
}

ScratchNeed linear_backward_data_scratch(const LinearBackwardData& op) {
  const int64_t N = op.d_out.dim(0);
  // The larger of both ways to cut; a stream's own way is not known here.
  const BackwardCut whole(N, op, false), serial(N, op, true);
  return {tile_scratch(op, std::min(N, std::max(whole.rows, serial.rows))).bytes,
          packing_scratch(op.weight, Form::backward) +
              std::max(tile_sums_bytes(whole, op), tile_sums_bytes(serial, op))};
}

void linear_backward_data(Stream& stream, const LinearBackwardData& op) {
  const int64_t N = op.d_out.dim(0), O = op.d_out.dim(1), C = op.weight.dim(1);
  const BackwardCut cut(N, op, stream.is_serial());
  const float* weight = packed(stream, op.weight, Form::backward, stream.shared_scratch());
  const TileScratch tile = tile_scratch(op, std::min(N, cut.rows));
  const Tensor& partials = op.d_bias_partials;
  auto* tile_sums =
      TileScratch::at(stream.shared_scratch(), packing_scratch(op.weight, Form::backward));

  stream.parallel_for(cut.tiles, [&](int64_t task, int worker) {
    const int64_t row = task / cut.per_block * (cut.per_block > 1 ? cut.block : cut.rows) +
                        task % cut.per_block * cut.rows;
    const int64_t end = cut.per_block > 1 ? std::min(N, (task / cut.per_block + 1) * cut.block) : N;
    const int64_t rows = std::clamp<int64_t>(end - row, 0, cut.rows);
    std::byte* scratch = stream.worker_scratch(worker);

    const float* d_pre = op.d_out.data() + row * op.d_out.stride(0);
    int64_t stride = op.d_out.stride(0);
    if (op.activation != Activation::none) {
      float* to = TileScratch::at(scratch, tile.x);
      int64_t to_stride = O;
      if (op.d_pre.defined()) {
        to = op.d_pre.data() + row * op.d_pre.stride(0);
        to_stride = op.d_pre.stride(0);
      }
      activation_backward_rows(to, d_pre, op.pre.data() + row * op.pre.stride(0), rows, O,
                               to_stride, stride, op.pre.stride(0), op.activation);
      d_pre = to;
      stride = to_stride;
    }
    if (partials.defined() && cut.per_block > 1) {
      column_sums(tile_sums + task * O, d_pre, rows, O, stride);
    } else if (partials.defined()) {
      for (int64_t r = 0; r == 0 || r < rows; r += cut.block) {
        column_sums(partials.data() + (row + r) / cut.block * partials.stride(0),
                    d_pre + r * stride, std::min(cut.block, rows - r), O, stride);
      }
    }
    if (rows == 0 || C == 0) return;
    if (stride != O && rows > 1) {
      float* together = TileScratch::at(scratch, tile.x);
      copy_rows(together, O, d_pre, stride, rows, O);
      d_pre = together;
    }
    float* d_x = op.d_x.data() + row * op.d_x.stride(0);
    const bool direct = rows == 1 || close_rows(op.d_x);
    float* y = direct ? d_x : TileScratch::at(scratch, tile.y);
    run({.rows = rows, .inner = O, .outer = C}, y, d_pre, weight, nullptr, scratch);
    if (!direct) copy_rows(d_x, op.d_x.stride(0), y, C, rows, C);
  });

  if (!partials.defined() || cut.per_block == 1) return;
  stream.parallel_for(cut.blocks, [&](int64_t b, int) {
    column_sums(partials.data() + b * partials.stride(0), tile_sums + b * cut.per_block * O,
                std::min(cut.per_block, cut.tiles - b * cut.per_block), O, O);
  });
}

// Backward for weights ----------------------------------------------------------------------------

void linear_backward_weights(Stream& stream, const LinearBackwardWeights& op) {
  const int64_t N = op.x.dim(0), C = op.x.dim(1), O = op.d_pre.dim(1);
  if (O == 0) return;
  const GradientCut cut(O, std::max<int64_t>(C, 1));
  const bool bias = op.d_bias.defined();
  stream.parallel_for(cut.tiles() + bias, [&](int64_t task, int) {
    if (task == cut.tiles()) {
      for (int64_t o = 0; o < O; ++o) {
        double sum = op.accumulate ? double{op.d_bias.data()[o]} : 0.0;
        for (int64_t p = 0; p < op.d_bias_partials.dim(0); ++p) {
          sum += double{op.d_bias_partials.data()[p * op.d_bias_partials.stride(0) + o]};
        }
        op.d_bias.data()[o] = static_cast<float>(sum);
      }
      return;
    }
    const auto t = cut.tile(task);
    run_transposed(op.d_weight.data() + t.output * op.d_weight.stride(0) + t.input,
                   op.d_weight.stride(0), op.d_pre.data() + t.output, op.d_pre.stride(0),
                   op.x.data() + t.input, op.x.stride(0), t.outputs, t.inputs, N, op.accumulate);
  });
}

}  // namespace

void CpuBackend::add_linear() {
  add<linear_forward, linear_forward_scratch>();
  add<linear_backward_data, linear_backward_data_scratch>();
  add<linear_backward_weights>();
}

}  // namespace msltx::ops
