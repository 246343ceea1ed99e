// linear on oneDNN: row tiles of packed products, with the activation and the bias gradient done on
// a tile while it is in cache. 2 workers of a Zen 4, shapes of the 11M model: forward and data
// gradients at 96-99 % of the machine's matrix peak, weight gradients at 97-100 %.
//
// Tasks are cut by shape, and nothing depends on the cut: a row of a product has the same bits in
// any tile (onednn.h), and sums over rows are taken per block of `partial_rows`, whose tiles start
// anew with every block.
//
// In bfloat16 (E) products take bfloat16 and add up in float32; a tile is rounded once, when it is
// written. What comes in float32, from the residual stream or as its gradient, is rounded tile by
// tile, and as a whole before a weight gradient.
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

template <class Op>
bool in_bfloat16(const Op& op) {
  return op_info(kIndexOf<Op>).compute_type(&op) == DType::bfloat16;
}

template <class Op>
int64_t form_scratch(const Op& op, Form form) {
  return in_bfloat16(op) ? packing_scratch<bfloat16>(op.weight, form)
                         : packing_scratch<float>(op.weight, form);
}

// The product can read it as it lies.
template <class E>
bool is_ready(const Tensor& x) {
  return x.dtype == dtype_of<E> && close_rows(x);
}
bool is_ready(const Tensor& x, bool bfloat) {
  return bfloat ? is_ready<bfloat16>(x) : is_ready<float>(x);
}

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
    const bool all_close = close_rows(op.out) && (!op.pre.defined() || close_rows(op.pre));
    scratch = TileScratch(C, is_ready(op.x, in_bfloat16(op)) ? 0 : rows * C,
                          all_close && !by_columns ? 0 : rows * columns);
  }
};

ScratchNeed linear_forward_scratch(const LinearForward& op) {
  if (op.out.size() == 0) return {};
  return {std::max(ForwardCut(op, false).scratch.bytes, ForwardCut(op, true).scratch.bytes),
          form_scratch(op, Form::forward)};
}

// A tile of the product in bfloat16: to pre where it is wanted, from which out is then made, or to
// out, where the activation is done in place.
void bfloat16_tile(const LinearForward& op, Product product, const bfloat16* x,
                   const bfloat16* weight, const float* bias, int64_t row, int64_t column,
                   float* room, std::byte* scratch) {
  const Tensor& to = op.pre.defined() ? op.pre : op.out;
  const bool direct = product.rows == 1 || (product.outer == op.weight.dim(0) && close_rows(to));
  product.to = to.dtype;
  const AnyMatrix place(to, row, column);
  AnyMatrix y = place;
  if (!direct) {
    y.data = room;
    y.stride = product.outer;
  }
  run(product, y.data, x, weight, bias, scratch);
  if (op.pre.defined() && !direct) convert_rows(place, y, product.rows, product.outer);
  if (!op.pre.defined() && op.activation == Activation::none && direct) return;
  activation_rows(AnyMatrix(op.out, row, column), y, product.rows, product.outer, op.activation);
}

void float32_tile(const LinearForward& op, const Product& product, const float* x,
                  const float* weight, const float* bias, int64_t row, int64_t column, float* room,
                  std::byte* scratch) {
  const int64_t rows = product.rows, columns = product.outer;
  float* out = op.out.data() + row * op.out.stride(0) + column;
  const bool direct = rows == 1 || (columns == op.weight.dim(0) && close_rows(op.out));
  float* y = direct ? out : room;
  run(product, y, x, weight, bias, scratch);
  if (op.activation != Activation::none || op.pre.defined()) {
    float* pre = op.pre.defined() ? op.pre.data() + row * op.pre.stride(0) + column : nullptr;
    bias_activation_rows(y, pre, nullptr, rows, columns, direct ? op.out.stride(0) : columns,
                         pre ? op.pre.stride(0) : 0, op.activation);
  }
  if (!direct) copy_rows(out, op.out.stride(0), y, columns, rows, columns);
}

template <class E>
void forward(Stream& stream, const LinearForward& op) {
  const int64_t N = op.x.dim(0), C = op.x.dim(1), O = op.weight.dim(0);
  const E* weight = packed<E>(stream, op.weight, Form::forward, stream.shared_scratch());
  const float* bias = op.bias.defined() ? op.bias.data() : nullptr;
  const ForwardCut cut(op, stream.is_serial());

  stream.parallel_for(divide_up(N, cut.rows) * cut.across, [&](int64_t task, int worker) {
    const int64_t row = task / cut.across * cut.rows, rows = std::min(cut.rows, N - row);
    const int64_t column = task % cut.across * cut.columns;
    const int64_t columns = std::min(cut.columns, O - column);
    std::byte* scratch = stream.worker_scratch(worker);

    const E* x = op.x.data<E>() + row * op.x.stride(0);
    if (!is_ready<E>(op.x)) {
      E* together = TileScratch::at<E>(scratch, cut.scratch.x);
      convert_rows({together, C}, AnyMatrix(op.x, row), rows, C);
      x = together;
    }
    const Product product{
        .rows = rows, .inner = C, .outer = columns, .bias = bias != nullptr, .from = dtype_of<E>};
    const E* from = weight + column / kPanel * panel_stride<E>(C);
    const float* part = bias ? bias + column : nullptr;
    float* room = TileScratch::at(scratch, cut.scratch.y);
    if constexpr (dtype_of<E> == DType::bfloat16) {
      bfloat16_tile(op, product, x, from, part, row, column, room, scratch);
    } else {
      float32_tile(op, product, x, from, part, row, column, room, scratch);
    }
  });
}

void linear_forward(Stream& stream, const LinearForward& op) {
  if (op.out.size() == 0) return;
  if (in_bfloat16(op)) return forward<bfloat16>(stream, op);
  forward<float>(stream, op);
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

// d_pre is d_out itself, or made from it.
bool makes_d_pre(const LinearBackwardData& op) {
  const DType compute = in_bfloat16(op) ? DType::bfloat16 : DType::float32;
  return op.activation != Activation::none || op.d_out.dtype != compute;
}

TileScratch tile_scratch(const LinearBackwardData& op, int64_t rows) {
  const int64_t O = op.d_out.dim(1), C = op.weight.dim(1);
  const Tensor d_pre = !makes_d_pre(op)                    ? op.d_out
                       : op.activation != Activation::none ? op.d_pre
                                                           : Tensor{};
  return {O, d_pre.defined() && close_rows(d_pre) ? 0 : rows * O,
          close_rows(op.d_x) ? 0 : rows * C};
}

ScratchNeed linear_backward_data_scratch(const LinearBackwardData& op) {
  const int64_t N = op.d_out.dim(0);
  // The larger of both ways to cut; a stream's own way is not known here.
  const BackwardCut whole(N, op, false), serial(N, op, true);
  return {tile_scratch(op, std::min(N, std::max(whole.rows, serial.rows))).bytes,
          form_scratch(op, Form::backward) +
              std::max(tile_sums_bytes(whole, op), tile_sums_bytes(serial, op))};
}

// d_pre of a tile of rows, made in the op's d_pre or in `room`; where they lie together in memory
// is what the product reads.
template <class E>
MatrixOf<E> make_d_pre(const LinearBackwardData& op, int64_t row, int64_t rows, E* room) {
  const int64_t O = op.d_out.dim(1);
  MatrixOf<E> d_pre{room, O};
  if (op.activation != Activation::none && op.d_pre.defined()) d_pre = matrix<E>(op.d_pre, row);
  if constexpr (dtype_of<E> == DType::bfloat16) {
    const AnyMatrix to(d_pre.data, d_pre.stride), d_out(op.d_out, row);
    if (op.activation == Activation::none) {
      convert_rows(to, d_out, rows, O);
    } else {
      activation_backward_rows(to, d_out, AnyMatrix(op.pre, row), rows, O, op.activation);
    }
  } else {
    activation_backward_rows(d_pre.data, matrix(op.d_out, row).data, matrix(op.pre, row).data, rows,
                             O, d_pre.stride, op.d_out.stride(0), op.pre.stride(0), op.activation);
  }
  return d_pre;
}

template <class E>
void backward_data(Stream& stream, const LinearBackwardData& op) {
  const int64_t N = op.d_out.dim(0), O = op.d_out.dim(1), C = op.weight.dim(1);
  const BackwardCut cut(N, op, stream.is_serial());
  const int64_t packed_bytes = form_scratch(op, Form::backward);
  const E* weight = packed<E>(stream, op.weight, Form::backward, stream.shared_scratch());
  const TileScratch tile = tile_scratch(op, std::min(N, cut.rows));
  const Tensor& partials = op.d_bias_partials;
  auto* tile_sums = TileScratch::at(stream.shared_scratch(), packed_bytes);

  stream.parallel_for(cut.tiles, [&](int64_t task, int worker) {
    const int64_t row = task / cut.per_block * (cut.per_block > 1 ? cut.block : cut.rows) +
                        task % cut.per_block * cut.rows;
    const int64_t end = cut.per_block > 1 ? std::min(N, (task / cut.per_block + 1) * cut.block) : N;
    const int64_t rows = std::clamp<int64_t>(end - row, 0, cut.rows);
    std::byte* scratch = stream.worker_scratch(worker);

    E* room = TileScratch::at<E>(scratch, tile.x);
    MatrixOf<E> d_pre =
        makes_d_pre(op) ? make_d_pre(op, row, rows, room) : matrix<E>(op.d_out, row);
    if (partials.defined() && cut.per_block > 1) {
      column_sums(tile_sums + task * O, {d_pre.data, d_pre.stride}, rows, O);
    } else if (partials.defined()) {
      for (int64_t r = 0; r == 0 || r < rows; r += cut.block) {
        column_sums(partials.data() + (row + r) / cut.block * partials.stride(0),
                    {d_pre.row(r), d_pre.stride}, std::min(cut.block, rows - r), O);
      }
    }
    if (rows == 0 || C == 0) return;
    if (d_pre.stride != O && rows > 1) {
      copy_rows(room, O, d_pre.data, d_pre.stride, rows, O);
      d_pre = {room, O};
    }
    const AnyMatrix d_x(op.d_x, row);
    const bool direct = rows == 1 || close_rows(op.d_x);
    AnyMatrix y = d_x;
    if (!direct) {
      y.data = scratch + tile.y;
      y.stride = C;
    }
    run({.rows = rows, .inner = O, .outer = C, .from = dtype_of<E>, .to = op.d_x.dtype}, y.data,
        d_pre.data, weight, nullptr, scratch);
    if (!direct) convert_rows(d_x, y, rows, C);
  });

  if (!partials.defined() || cut.per_block == 1) return;
  stream.parallel_for(cut.blocks, [&](int64_t b, int) {
    column_sums(partials.data() + b * partials.stride(0), tile_sums + b * cut.per_block * O,
                std::min(cut.per_block, cut.tiles - b * cut.per_block), O, O);
  });
}

void linear_backward_data(Stream& stream, const LinearBackwardData& op) {
  if (in_bfloat16(op)) return backward_data<bfloat16>(stream, op);
  backward_data<float>(stream, op);
}

// Backward for weights ----------------------------------------------------------------------------

// An operand that comes in float32 is rounded into shared scratch first.
template <class E>
int64_t rounded_bytes(const Tensor& x) {
  return x.dtype == dtype_of<E> ? 0 : Arena::aligned(x.size() * static_cast<int64_t>(sizeof(E)));
}

ScratchNeed linear_backward_weights_scratch(const LinearBackwardWeights& op) {
  if (!in_bfloat16(op)) return {};
  return {.shared = rounded_bytes<bfloat16>(op.x) + rounded_bytes<bfloat16>(op.d_pre)};
}

template <class E>
MatrixOf<E> rounded(Stream& stream, const Tensor& x, std::byte* room) {
  if (x.dtype == dtype_of<E>) return matrix<E>(x);
  const MatrixOf<E> to{reinterpret_cast<E*>(room), x.dim(1)};
  for_row_blocks(stream, x.dim(0), x.dim(1), [&](int64_t row, int64_t rows, int) {
    convert_rows({to.row(row), to.stride}, AnyMatrix(x, row), rows, x.dim(1));
  });
  return to;
}

template <class E>
void backward_weights(Stream& stream, const LinearBackwardWeights& op) {
  const int64_t N = op.x.dim(0), C = op.x.dim(1), O = op.d_pre.dim(1);
  const GradientCut cut(O, std::max<int64_t>(C, 1));
  const bool bias = op.d_bias.defined();
  const MatrixOf<E> x = rounded<E>(stream, op.x, stream.shared_scratch());
  const MatrixOf<E> d_pre =
      rounded<E>(stream, op.d_pre, stream.shared_scratch() + rounded_bytes<E>(op.x));
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
                   op.d_weight.stride(0), d_pre.data + t.output, d_pre.stride, x.data + t.input,
                   x.stride, t.outputs, t.inputs, N, op.accumulate);
  });
}

void linear_backward_weights(Stream& stream, const LinearBackwardWeights& op) {
  if (op.d_pre.dim(1) == 0) return;
  if (in_bfloat16(op)) return backward_weights<bfloat16>(stream, op);
  backward_weights<float>(stream, op);
}

}  // namespace

void CpuBackend::add_linear() {
  const bool bfloat16 = has_bfloat16_products();
  add<linear_forward, linear_forward_scratch>(bfloat16);
  add<linear_backward_data, linear_backward_data_scratch>(bfloat16);
  add<linear_backward_weights, linear_backward_weights_scratch>(bfloat16);
}

}  // namespace msltx::ops
