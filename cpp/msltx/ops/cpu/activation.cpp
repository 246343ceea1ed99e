// SiLU, ReLU, sigmoid, SwiGLU and GeGLU; the formulas are in reference/activation.cpp. Faster than
// it: vectors, a polynomial exponential, and one exponential for an activation and its slope.
#include "msltx/ops/cpu/cpu.h"
#include "msltx/ops/cpu/tasks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "msltx/ops/cpu/activation.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "msltx/ops/cpu/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace msltx::ops::cpu::HWY_NAMESPACE {

void silu_rows(Matrix out, Matrix x, int64_t rows, int64_t C) {
  for (int64_t r = 0; r < rows; ++r) map(C, out.row(r), silu, x.row(r));
}

void silu_backward_rows(Matrix d_x, Matrix d_out, Matrix x, int64_t rows, int64_t C) {
  const auto slope = [](VF d, VF v) { return hn::Mul(d, silu_and_slope(v).slope); };
  for (int64_t r = 0; r < rows; ++r) map(C, d_x.row(r), slope, d_out.row(r), x.row(r));
}

void relu_rows(Matrix out, Matrix x, int64_t rows, int64_t C) {
  for (int64_t r = 0; r < rows; ++r) map(C, out.row(r), relu, x.row(r));
}

void relu_backward_rows(Matrix d_x, Matrix d_out, Matrix x, int64_t rows, int64_t C) {
  for (int64_t r = 0; r < rows; ++r) map(C, d_x.row(r), where_relu_passes, d_out.row(r), x.row(r));
}

void sigmoid_rows(Matrix out, Matrix x, int64_t rows, int64_t C) {
  for (int64_t r = 0; r < rows; ++r) map(C, out.row(r), sigmoid, x.row(r));
}

void sigmoid_backward_rows(Matrix d_x, Matrix d_out, Matrix x, int64_t rows, int64_t C) {
  const auto slope = [](VF d, VF v) { return hn::Mul(d, sigmoid_slope(v)); };
  for (int64_t r = 0; r < rows; ++r) map(C, d_x.row(r), slope, d_out.row(r), x.row(r));
}

template <class Fn>
HWY_INLINE void gate_with(const Fn& fn, Matrix out, Matrix gate, Matrix up, int64_t rows,
                          int64_t width) {
  const auto gated = [&](VF g, VF u) HWY_ATTR { return hn::Mul(fn(g), u); };
  for (int64_t r = 0; r < rows; ++r) map(width, out.row(r), gated, gate.row(r), up.row(r));
}

template <class Fn>
HWY_INLINE void gate_backward_with(const Fn& fn, Matrix d_gate, Matrix d_up, Matrix d_out,
                                   Matrix gate, Matrix up, int64_t rows, int64_t width) {
  for (int64_t r = 0; r < rows; ++r) {
    const float *d_row = d_out.row(r), *gate_row = gate.row(r), *up_row = up.row(r);
    float *d_gate_row = d_gate.row(r), *d_up_row = d_up.row(r);
    for_vectors(0, width, [&](auto io, int64_t c, int64_t count) HWY_ATTR {
      const VF d = io.load(d_row + c, count);
      const AndSlope f = fn(io.load(gate_row + c, count));
      const VF through = hn::Mul(d, io.load(up_row + c, count));
      io.store(hn::Mul(through, f.slope), d_gate_row + c, count);
      io.store(hn::Mul(d, f.value), d_up_row + c, count);
    });
  }
}

void gate_rows(Matrix out, Matrix gate, Matrix up, int64_t rows, int64_t width, Activation by) {
  switch (by) {
    case Activation::gelu_tanh:
      return gate_with(gelu_tanh, out, gate, up, rows, width);
    case Activation::gelu:
      return gate_with(gelu_erf, out, gate, up, rows, width);
    default:
      return gate_with(silu, out, gate, up, rows, width);
  }
}

void gate_backward_rows(Matrix d_gate, Matrix d_up, Matrix d_out, Matrix gate, Matrix up,
                        int64_t rows, int64_t width, Activation by) {
  switch (by) {
    case Activation::gelu_tanh:
      return gate_backward_with(gelu_tanh_and_slope, d_gate, d_up, d_out, gate, up, rows, width);
    case Activation::gelu:
      return gate_backward_with(gelu_erf_and_slope, d_gate, d_up, d_out, gate, up, rows, width);
    default:
      return gate_backward_with(silu_and_slope, d_gate, d_up, d_out, gate, up, rows, width);
  }
}

}  // namespace msltx::ops::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msltx::ops {
namespace cpu {

HWY_EXPORT(silu_rows);
HWY_EXPORT(silu_backward_rows);
HWY_EXPORT(relu_rows);
HWY_EXPORT(relu_backward_rows);
HWY_EXPORT(sigmoid_rows);
HWY_EXPORT(sigmoid_backward_rows);
HWY_EXPORT(gate_rows);
HWY_EXPORT(gate_backward_rows);

namespace {

template <class Op, class Run>
void forward(Stream& stream, const Op& op, Run run) {
  const int64_t N = op.x.dim(0), C = op.x.dim(1);
  for_row_blocks(stream, N, C, [&](int64_t n, int64_t rows, int) {
    run(matrix(op.out, n), matrix(op.x, n), rows, C);
  });
}

template <class Op, class Run>
void backward(Stream& stream, const Op& op, Run run) {
  const int64_t N = op.x.dim(0), C = op.x.dim(1);
  for_row_blocks(stream, N, C, [&](int64_t n, int64_t rows, int) {
    run(matrix(op.d_x, n), matrix(op.d_out, n), matrix(op.x, n), rows, C);
  });
}

void silu_forward(Stream& stream, const SiluForward& op) {
  forward(stream, op, HWY_DYNAMIC_DISPATCH(silu_rows));
}
void silu_backward(Stream& stream, const SiluBackward& op) {
  backward(stream, op, HWY_DYNAMIC_DISPATCH(silu_backward_rows));
}
void relu_forward(Stream& stream, const ReluForward& op) {
  forward(stream, op, HWY_DYNAMIC_DISPATCH(relu_rows));
}
void relu_backward(Stream& stream, const ReluBackward& op) {
  backward(stream, op, HWY_DYNAMIC_DISPATCH(relu_backward_rows));
}
void sigmoid_forward(Stream& stream, const SigmoidForward& op) {
  forward(stream, op, HWY_DYNAMIC_DISPATCH(sigmoid_rows));
}
void sigmoid_backward(Stream& stream, const SigmoidBackward& op) {
  backward(stream, op, HWY_DYNAMIC_DISPATCH(sigmoid_backward_rows));
}

template <class Op>
void gate(Stream& stream, const Op& op, Activation by) {
  const int64_t N = op.gate.dim(0), width = op.gate.dim(1);
  const auto run = HWY_DYNAMIC_DISPATCH(gate_rows);
  for_row_blocks(stream, N, width, [&](int64_t n, int64_t rows, int) {
    run(matrix(op.out, n), matrix(op.gate, n), matrix(op.up, n), rows, width, by);
  });
}

template <class Op>
void gate_backward(Stream& stream, const Op& op, Activation by) {
  const int64_t N = op.gate.dim(0), width = op.gate.dim(1);
  const auto run = HWY_DYNAMIC_DISPATCH(gate_backward_rows);
  for_row_blocks(stream, N, width, [&](int64_t n, int64_t rows, int) {
    run(matrix(op.d_gate, n), matrix(op.d_up, n), matrix(op.d_out, n), matrix(op.gate, n),
        matrix(op.up, n), rows, width, by);
  });
}

Activation gelu_of(Approximation approximate) {
  return approximate == Approximation::tanh ? Activation::gelu_tanh : Activation::gelu;
}

void swiglu_forward(Stream& stream, const SwigluForward& op) { gate(stream, op, Activation::silu); }
void swiglu_backward(Stream& stream, const SwigluBackward& op) {
  gate_backward(stream, op, Activation::silu);
}
void geglu_forward(Stream& stream, const GegluForward& op) {
  gate(stream, op, gelu_of(op.approximate));
}
void geglu_backward(Stream& stream, const GegluBackward& op) {
  gate_backward(stream, op, gelu_of(op.approximate));
}

}  // namespace
}  // namespace cpu

void CpuBackend::add_activation() {
  add<cpu::silu_forward>();
  add<cpu::silu_backward>();
  add<cpu::relu_forward>();
  add<cpu::relu_backward>();
  add<cpu::sigmoid_forward>();
  add<cpu::sigmoid_backward>();
  add<cpu::swiglu_forward>();
  add<cpu::swiglu_backward>();
  add<cpu::geglu_forward>();
  add<cpu::geglu_backward>();
}

}  // namespace msltx::ops
#endif
