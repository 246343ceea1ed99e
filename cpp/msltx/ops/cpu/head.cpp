// The output projection and its cross entropy in one op: N x V logits never exist, only the
// gradient of a block of rows' logits, until the weight gradient has read it. Faster than separate
// ops by what writing and reading all logits costs, and with one exponential a logit.
//
// A block of rows is cut so that its gradients fit kBlockBytes. A wide vocabulary is cut into
// panels of columns, and d_logits lie panel by panel: a tile of a panel is in cache while its
// exponentials are taken, each by the tile's own maximum, and again while it is rescaled and
// multiplied for d_hidden; and no product meets rows that lie 4 V bytes apart, which cost it 5 %.
// Blocks come one after the other, panels are added in order and so are losses: the bits do not
// depend on the threads.
//
// In bfloat16 (E) logits and their exponentials are made in float32, a tile at a time, and rounded
// when they become gradients; with several panels the exponentials are rounded too, on their way to
// the second pass.
//
// 2 workers of a Zen 4: 96 % of the matrix peak at V 1776, C 384, and 94 % at V 32000.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
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

// A weight gradient has at least so many tasks where it is large enough.
constexpr int64_t kGradientTiles = 8;

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
template <class E>
const E* hidden_rows(const Tensor& hidden, int64_t row, int64_t rows, E* room) {
  const E* x = hidden.data<E>() + row * hidden.stride(0);
  if (close_rows(hidden)) return x;
  copy_rows(room, hidden.dim(1), x, hidden.stride(0), rows, hidden.dim(1));
  return room;
}

// Loss alone --------------------------------------------------------------------------------------

template <class E>
struct LossCut {
  int64_t rows, columns;
  TileScratch scratch;
  int64_t losses, bytes;  // shared: the packed weight, then N losses

  explicit LossCut(const LinearCrossEntropyForward& op)
      : rows(tile_rows(op.hidden.dim(0))),
        columns(even_tile(op.weight.dim(0), kLossColumns, kPanel)),
        scratch(op.hidden.dim(1), close_rows(op.hidden) ? 0 : rows * op.hidden.dim(1),
                rows * columns),
        losses(packing_scratch<E>(op.weight, Form::forward)),
        bytes(losses + op.hidden.dim(0) * int64_t{sizeof(double)}) {}
};

ScratchNeed linear_cross_entropy_forward_scratch(const LinearCrossEntropyForward& op) {
  ScratchNeed need;
  with_type(op.hidden.dtype, [&]<class E>(E) {
    const LossCut<E> cut(op);
    need = {cut.scratch.bytes + cut.rows * 2 * int64_t{sizeof(double)}, cut.bytes};
  });
  return need;
}

template <class E>
void loss_alone(Stream& stream, const LinearCrossEntropyForward& op) {
  const int64_t N = op.hidden.dim(0), C = op.hidden.dim(1), V = op.weight.dim(0);
  const LossCut<E> cut(op);
  const E* weight = packed<E>(stream, op.weight, Form::forward, stream.shared_scratch());
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
    const E* x = hidden_rows(op.hidden, row, rows, TileScratch::at<E>(scratch, cut.scratch.x));
    float* logits = TileScratch::at(scratch, cut.scratch.y);
    // Of the columns so far, log(sum of exp) = top + log(total).
    auto* top = reinterpret_cast<double*>(scratch + cut.scratch.bytes);
    double* total = top + cut.rows;
    std::fill_n(top, rows, -kInfinity);
    std::fill_n(total, rows, 0.0);
    for (int64_t v = 0; v < V; v += cut.columns) {
      const int64_t columns = std::min(cut.columns, V - v);
      run({.rows = rows,
           .inner = C,
           .outer = columns,
           .bias = bias != nullptr,
           .from = dtype_of<E>},
          logits, x, weight + v / kPanel * panel_stride<E>(C), bias ? bias + v : nullptr, scratch);
      for (int64_t r = 0; r < rows; ++r) {
        float* l = logits + r * columns;
        if (op.logit_softcap > 0) softcap_row(l, l, columns, op.logit_softcap);
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

void linear_cross_entropy_forward(Stream& stream, const LinearCrossEntropyForward& op) {
  with_type(op.hidden.dtype, [&]<class E>(E) { loss_alone<E>(stream, op); });
}

// Loss and gradients ------------------------------------------------------------------------------

// A vocabulary in panels of whole multiples of 64 columns.
struct Panels {
  int64_t V, count;

  // Up to here a tile of 128 rows stays in a cache of 1 MiB whole.
  static constexpr int64_t kOne = 2048;
  // Beyond, narrower: the weight passes through the same cache.
  static constexpr int64_t kMany = 1536;

  explicit Panels(int64_t vocabulary) : V(vocabulary), count(V <= kOne ? 1 : divide_up(V, kMany)) {}
  int64_t begin(int64_t p) const { return std::min(V, p * divide_up(V, kPanel) / count * kPanel); }
  int64_t columns(int64_t p) const { return begin(p + 1) - begin(p); }
  int64_t widest() const { return std::min(V, divide_up(divide_up(V, kPanel), count) * kPanel); }
};

// Of a row's logits in one panel: the largest, the sum of exp(logit - largest), and then by what
// those exponentials become gradients. With a soft cap they are those of capped logits times the
// cap's slope, and target_slope is the target's; else that is 1.
struct RowPart {
  double total;
  float top, factor, target_slope;
};

template <class E>
struct HeadCut {
  static constexpr bool kRounds = dtype_of<E> == DType::bfloat16;
  static constexpr auto kSize = static_cast<int64_t>(sizeof(E));
  Panels panels;
  int64_t rows, block;  // rows of a tile and of a block
  TileScratch scratch;
  int64_t logits = 0, worker_bytes;  // a tile of logits in float32, where d_logits are not
  int64_t backward_form, losses, parts, d_logits, bytes;  // shared, after the packed forward form

  explicit HeadCut(const LinearCrossEntropyForwardBackward& op)
      : panels(op.weight.dim(0)), scratch(0, 0, 0) {
    const int64_t N = op.hidden.dim(0), C = op.hidden.dim(1), V = op.weight.dim(0);
    rows = kRounds ? std::min<int64_t>(64, tile_rows(N)) : tile_rows(N);
    block = std::max<int64_t>(1, kBlockBytes / (V * kSize) / rows) * rows;
    block = round_up(even_tile(N, block), rows);
    const int64_t most = std::min(block, N);
    scratch =
        TileScratch(std::max(C, V), close_rows(op.hidden) ? 0 : rows * C,
                    close_rows(op.d_hidden) && panels.count == 1 ? 0 : rows * round_up(C, kPanel));
    logits = Arena::aligned(scratch.bytes);
    worker_bytes = kRounds ? logits + rows * panels.widest() * kFloat : scratch.bytes;
    backward_form = packing_scratch<E>(op.weight, Form::forward);
    losses = backward_form + packing_scratch<E>(op.weight, Form::backward);
    parts = losses + Arena::aligned(N * int64_t{sizeof(double)});
    d_logits = parts + Arena::aligned(most * panels.count * int64_t{sizeof(RowPart)});
    bytes = d_logits + most * V * kSize;
  }
};

ScratchNeed linear_cross_entropy_forward_backward_scratch(
    const LinearCrossEntropyForwardBackward& op) {
  ScratchNeed need;
  with_type(op.hidden.dtype, [&]<class E>(E) {
    const HeadCut<E> cut(op);
    need = {cut.worker_bytes, cut.bytes};
  });
  return need;
}

// The op on one block of rows, [first, first + count).
template <class E>
class HeadBlock {
 public:
  HeadBlock(const Stream& stream, const LinearCrossEntropyForwardBackward& op,
            const HeadCut<E>& cut, const E* forward, const E* backward, int64_t first)
      : stream_(stream),
        op_(op),
        cut_(cut),
        forward_(forward),
        backward_(backward),
        first_(first),
        count_(std::min(cut.block, op.hidden.dim(0) - first)),
        C_(op.hidden.dim(1)),
        targets_(op.targets.data<int32_t>() + first),
        losses_(reinterpret_cast<double*>(stream.shared_scratch() + cut.losses) + first),
        parts_(reinterpret_cast<RowPart*>(stream.shared_scratch() + cut.parts)),
        d_logits_(TileScratch::at<E>(stream.shared_scratch(), cut.d_logits)) {}

  int64_t tiles() const { return divide_up(count_, cut_.rows); }

  // exp(logits - top) of a tile of rows in one panel.
  void exponentials(int64_t panel, int64_t tile, int worker) const {
    const int64_t row = tile * cut_.rows, rows = std::min(cut_.rows, count_ - row);
    const int64_t v = cut_.panels.begin(panel), columns = cut_.panels.columns(panel);
    E* d_logits = at(panel, row);
    if (none_counts(row, rows)) {
      std::fill_n(d_logits, rows * columns, E(0.0f));
      return;
    }
    std::byte* scratch = stream_.worker_scratch(worker);
    const E* x =
        hidden_rows(op_.hidden, first_ + row, rows, TileScratch::at<E>(scratch, cut_.scratch.x));
    const float* bias = op_.bias.defined() ? op_.bias.data() + v : nullptr;
    float* logits = logits_of(d_logits, worker);
    run({.rows = rows, .inner = C_, .outer = columns, .bias = bias != nullptr, .from = dtype_of<E>},
        logits, x, forward_ + v / kPanel * panel_stride<E>(C_), bias, scratch);
    for (int64_t r = 0; r < rows; ++r, logits += columns, d_logits += columns) {
      const int32_t target = targets_[row + r];
      if (target == op_.ignore_index) {
        std::fill_n(d_logits, columns, E(0.0f));
        continue;
      }
      const float cap = op_.logit_softcap;
      if (cap > 0) softcap_row(logits, logits, columns, cap);
      RowPart& part = parts_[(row + r) * cut_.panels.count + panel];
      if (target >= v && target < v + columns) {
        const float logit = logits[target - v];
        losses_[row + r] = -double{logit};
        part.target_slope = cap > 0 ? (1 - logit / cap) * (1 + logit / cap) : 1;
      }
      part.top = cap > 0 ? capped_exponentials_row(logits, columns, cap, &part.total)
                         : exponentials_row(logits, columns, &part.total);
      if (kRounds && cut_.panels.count > 1) {
        convert_rows({d_logits, columns}, {logits, columns}, 1, columns);
      }
    }
  }

  // Losses, d_logits and d_hidden of a tile of rows whose exponentials are there.
  void gradients(int64_t tile, int worker) const {
    const int64_t row = tile * cut_.rows, rows = std::min(cut_.rows, count_ - row);
    for (int64_t r = row; r < row + rows; ++r) finish_row(r);
    const AnyMatrix d_hidden(op_.d_hidden, first_ + row);
    if (none_counts(row, rows)) {
      for (int64_t r = 0; r < rows; ++r) {
        with_type(d_hidden.dtype,
                  [&]<class T>(T) { std::fill_n(d_hidden.as<T>().row(r), C_, T(0.0f)); });
      }
      return;
    }
    std::byte* scratch = stream_.worker_scratch(worker);
    AnyMatrix y = d_hidden;
    if (cut_.panels.count == 1) {
      scale(0, row, rows, logits_of(at(0, row), worker));
      const bool direct = close_rows(op_.d_hidden);
      if (!direct) y.data = scratch + cut_.scratch.y, y.stride = C_;
      run({.rows = rows, .inner = cut_.panels.V, .outer = C_, .from = dtype_of<E>, .to = y.dtype},
          y.data, at(0, row), backward_, nullptr, scratch);
      if (!direct) convert_rows(d_hidden, y, rows, C_);
      return;
    }
    // The rows of the packed weight that belong to a panel lie together in every 64 columns.
    float* sums = TileScratch::at(scratch, cut_.scratch.y);
    for (int64_t p = 0; p < cut_.panels.count; ++p) {
      scale(p, row, rows, at(p, row));
      for (int64_t c = 0; c < C_; c += kPanel) {
        run({.rows = rows,
             .inner = cut_.panels.columns(p),
             .outer = std::min(kPanel, C_ - c),
             .accumulate = p > 0,
             .from = dtype_of<E>},
            sums + c * rows, at(p, row),
            backward_ + c / kPanel * panel_stride<E>(cut_.panels.V) + cut_.panels.begin(p) * kPanel,
            nullptr, scratch);
      }
    }
    for (int64_t c = 0; c < C_; c += kPanel) {
      const int64_t columns = std::min(kPanel, C_ - c);
      y.data = static_cast<char*>(d_hidden.data) + c * size_of(d_hidden.dtype);
      convert_rows(y, {sums + c * rows, columns}, rows, columns);
    }
  }

  // What the block adds to a tile of d_weight, and to the tile's part of d_bias.
  void weight_gradient(int64_t panel, const GradientCut::Tile& t) const {
    const int64_t v = cut_.panels.begin(panel) + t.output, stride = op_.d_weight.stride(0);
    const int64_t columns = cut_.panels.columns(panel);
    const bool add = op_.accumulate || first_ > 0;
    run_transposed(op_.d_weight.data() + v * stride + t.input, stride, at(panel, 0) + t.output,
                   columns, op_.hidden.data<E>() + first_ * op_.hidden.stride(0) + t.input,
                   op_.hidden.stride(0), t.outputs, t.inputs, count_, add);
    if (t.input > 0 || !op_.d_bias.defined()) return;
    std::array<float, GradientCut::kMaxSide> sums;
    column_sums(sums.data(), {at(panel, 0) + t.output, columns}, count_, t.outputs);
    float* d_bias = op_.d_bias.data() + v;
    for (int64_t i = 0; i < t.outputs; ++i) {
      d_bias[i] = add ? d_bias[i] + sums[static_cast<size_t>(i)] : sums[static_cast<size_t>(i)];
    }
  }

 private:
  static constexpr bool kRounds = HeadCut<E>::kRounds;

  E* at(int64_t panel, int64_t row) const {
    return d_logits_ + count_ * cut_.panels.begin(panel) + row * cut_.panels.columns(panel);
  }
  // Where a tile's logits are made: in place, or in the worker's scratch.
  float* logits_of(E* d_logits, int worker) const {
    if constexpr (kRounds) {
      return TileScratch::at(stream_.worker_scratch(worker), cut_.logits);
    } else {
      return d_logits;
    }
  }
  bool none_counts(int64_t row, int64_t rows) const {
    return std::all_of(targets_ + row, targets_ + row + rows,
                       [&](int32_t target) { return target == op_.ignore_index; });
  }
  void finish_row(int64_t r) const {
    if (targets_[r] == op_.ignore_index) {
      losses_[r] = 0;
      return;
    }
    RowPart* parts = parts_ + r * cut_.panels.count;
    float top = parts[0].top;
    for (int64_t p = 1; p < cut_.panels.count; ++p) top = std::max(top, parts[p].top);
    double total = 0;
    for (int64_t p = 0; p < cut_.panels.count; ++p) {
      total += parts[p].total * std::exp(double{parts[p].top} - double{top});
    }
    losses_[r] += double{top} + std::log(total);
    for (int64_t p = 0; p < cut_.panels.count; ++p) {
      parts[p].factor = static_cast<float>(double{op_.scale} / total *
                                           std::exp(double{parts[p].top} - double{top}));
    }
  }
  // d_logits of a tile from its exponentials, which may be the same memory.
  template <class T>
  void scale(int64_t panel, int64_t row, int64_t rows, T* exponentials) const {
    const int64_t v = cut_.panels.begin(panel), columns = cut_.panels.columns(panel);
    for (int64_t r = row; r < row + rows; ++r) {
      const int32_t target = targets_[r];
      if (target == op_.ignore_index) continue;
      E* d = at(panel, r);
      T* e = exponentials + (r - row) * columns;
      const RowPart& part = parts_[r * cut_.panels.count + panel];
      const bool here = target >= v && target < v + columns;
      const float at_target =
          here ? static_cast<float>(e[target - v]) * part.factor - op_.scale * part.target_slope
               : 0;
      scale_row({d, columns}, {e, columns}, columns, part.factor);
      if (here) d[target - v] = E(at_target);
    }
  }

  const Stream& stream_;
  const LinearCrossEntropyForwardBackward& op_;
  const HeadCut<E>& cut_;
  const E *forward_, *backward_;
  int64_t first_, count_, C_;
  const int32_t* targets_;
  double* losses_;
  RowPart* parts_;
  E* d_logits_;
};

template <class E>
void loss_and_gradients(Stream& stream, const LinearCrossEntropyForwardBackward& op) {
  const int64_t N = op.hidden.dim(0), C = op.hidden.dim(1);
  const HeadCut<E> cut(op);
  std::byte* shared = stream.shared_scratch();
  const E* forward = packed<E>(stream, op.weight, Form::forward, shared);
  const E* backward = packed<E>(stream, op.weight, Form::backward, shared + cut.backward_form);
  const Panels& panels = cut.panels;
  const auto gradient = [&](int64_t p) {
    return GradientCut(panels.columns(p), C, divide_up(kGradientTiles, panels.count));
  };
  // Panels differ in width by 64 columns at most; each is given the tiles of the widest.
  int64_t tiles_each = 0;
  for (int64_t p = 0; p < panels.count; ++p) {
    tiles_each = std::max(tiles_each, gradient(p).tiles());
  }
  for (int64_t first = 0; first == 0 || first < N; first += cut.block) {
    const HeadBlock<E> block(stream, op, cut, forward, backward, first);
    if (panels.count == 1) {  // all of a tile in one task, while it is in cache
      stream.parallel_for(block.tiles(), [&](int64_t tile, int worker) {
        block.exponentials(0, tile, worker);
        block.gradients(tile, worker);
      });
    } else {  // panel by panel, so that workers share the weight's part in cache
      stream.parallel_for(panels.count * block.tiles(), [&](int64_t task, int worker) {
        block.exponentials(task / block.tiles(), task % block.tiles(), worker);
      });
      stream.parallel_for(block.tiles(),
                          [&](int64_t tile, int worker) { block.gradients(tile, worker); });
    }
    stream.parallel_for(panels.count * tiles_each, [&](int64_t task, int) {
      const GradientCut tiles = gradient(task / tiles_each);
      if (task % tiles_each < tiles.tiles()) {
        block.weight_gradient(task / tiles_each, tiles.tile(task % tiles_each));
      }
    });
  }
  op.loss.data()[0] = sum_in_order(reinterpret_cast<double*>(shared + cut.losses), N, op.scale);
}

void linear_cross_entropy_forward_backward(Stream& stream,
                                           const LinearCrossEntropyForwardBackward& op) {
  with_type(op.hidden.dtype, [&]<class E>(E) { loss_and_gradients<E>(stream, op); });
}

}  // namespace

void CpuBackend::add_head() {
  const bool bfloat16 = has_bfloat16_products();
  add<linear_cross_entropy_forward, linear_cross_entropy_forward_scratch>(bfloat16);
  add<linear_cross_entropy_forward_backward, linear_cross_entropy_forward_backward_scratch>(
      bfloat16);
}

}  // namespace msltx::ops
