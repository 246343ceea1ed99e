// SiLU, ReLU and sigmoid over x (N, C); SwiGLU and GeGLU over gate and up (N, F). The formulas of
// one number are in activations.h and gelu.h. Every backward overwrites.
//
//   f:          out = f(x),          d_x = d_out f'(x)
//   gated by f: out = f(gate) up,    d_gate = d_out up f'(gate),  d_up = d_out f(gate)
#include "msltx/ops/reference/activations.h"
#include "msltx/ops/reference/loops.h"
#include "msltx/ops/reference/reference.h"
#include "msltx/ops/stream.h"

namespace msltx::ops {
namespace {

using Function = double (*)(double);

template <Function f, class Op>
void forward(Stream& stream, const Op& op) {
  stream.parallel_for(op.x.dim(0), [&](int64_t n, int) {
    for (int64_t c = 0; c < op.x.dim(1); ++c) {
      row(op.out, n)[c] = static_cast<float>(f(row(op.x, n)[c]));
    }
  });
}

template <Function slope, class Op>
void backward(Stream& stream, const Op& op) {
  stream.parallel_for(op.x.dim(0), [&](int64_t n, int) {
    for (int64_t c = 0; c < op.x.dim(1); ++c) {
      const double d = row(op.d_out, n)[c];
      row(op.d_x, n)[c] = static_cast<float>(d * slope(row(op.x, n)[c]));
    }
  });
}

template <class Op>
void gated_forward(Stream& stream, const Op& op, Function f) {
  stream.parallel_for(op.gate.dim(0), [&](int64_t n, int) {
    for (int64_t c = 0; c < op.gate.dim(1); ++c) {
      row(op.out, n)[c] = static_cast<float>(f(row(op.gate, n)[c]) * double{row(op.up, n)[c]});
    }
  });
}

template <class Op>
void gated_backward(Stream& stream, const Op& op, Function f, Function slope) {
  stream.parallel_for(op.gate.dim(0), [&](int64_t n, int) {
    for (int64_t c = 0; c < op.gate.dim(1); ++c) {
      const double d = row(op.d_out, n)[c], gate = row(op.gate, n)[c], up = row(op.up, n)[c];
      row(op.d_gate, n)[c] = static_cast<float>(d * up * slope(gate));
      row(op.d_up, n)[c] = static_cast<float>(d * f(gate));
    }
  });
}

void silu_forward(Stream& stream, const SiluForward& op) { forward<silu>(stream, op); }
void silu_backward(Stream& stream, const SiluBackward& op) {
  backward<silu_derivative>(stream, op);
}

void relu_forward(Stream& stream, const ReluForward& op) { forward<relu>(stream, op); }
void relu_backward(Stream& stream, const ReluBackward& op) {
  backward<relu_derivative>(stream, op);
}

void sigmoid_forward(Stream& stream, const SigmoidForward& op) { forward<sigmoid>(stream, op); }
void sigmoid_backward(Stream& stream, const SigmoidBackward& op) {
  backward<sigmoid_derivative>(stream, op);
}

void swiglu_forward(Stream& stream, const SwigluForward& op) { gated_forward(stream, op, silu); }
void swiglu_backward(Stream& stream, const SwigluBackward& op) {
  gated_backward(stream, op, silu, silu_derivative);
}

void geglu_forward(Stream& stream, const GegluForward& op) {
  gated_forward(stream, op, op.approximate == Approximation::tanh ? gelu_tanh : gelu_erf);
}
void geglu_backward(Stream& stream, const GegluBackward& op) {
  const bool tanh = op.approximate == Approximation::tanh;
  gated_backward(stream, op, tanh ? gelu_tanh : gelu_erf,
                 tanh ? gelu_tanh_derivative : gelu_erf_derivative);
}

}  // namespace

void ReferenceBackend::add_activation() {
  add<silu_forward>();
  add<silu_backward>();
  add<relu_forward>();
  add<relu_backward>();
  add<sigmoid_forward>();
  add<sigmoid_backward>();
  add<swiglu_forward>();
  add<swiglu_backward>();
  add<geglu_forward>();
  add<geglu_backward>();
}

}  // namespace msltx::ops
