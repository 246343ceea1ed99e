// Activations besides GELU, and gated ones: gate and up are the two column halves of one buffer (N,
// 2 F), or any two matrices. Dauphin et al.: "Language modeling with gated convolutional networks",
// 2017; Shazeer: "GLU variants improve Transformer", 2020.
#pragma once

#include "msltx/ops/elementwise.h"
#include "msltx/ops/op.h"

namespace msltx::ops {

struct SiluForward {
  static constexpr std::string_view name = "silu_forward";
  static constexpr std::string_view summary = "out = x sigmoid(x)";
  Tensor out, x;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &SiluForward::out, "N C").alias("x");
    v.reads("x", &SiluForward::x, "N C");
  }
  double flops() const { return 5.0 * static_cast<double>(x.size()); }
};

struct SiluBackward {
  static constexpr std::string_view name = "silu_backward";
  static constexpr std::string_view summary = "d_x = d_out * s (1 + x (1 - s)), s = sigmoid(x)";
  Tensor d_x, d_out, x;

  template <class V>
  static void visit(V& v) {
    v.writes("d_x", &SiluBackward::d_x, "N C").alias("d_out");
    v.reads("d_out", &SiluBackward::d_out, "N C");
    v.reads("x", &SiluBackward::x, "N C");
  }
  double flops() const { return 8.0 * static_cast<double>(x.size()); }
};

struct ReluForward {
  static constexpr std::string_view name = "relu_forward";
  static constexpr std::string_view summary = "out = max(x, 0)";
  Tensor out, x;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &ReluForward::out, "N C").alias("x");
    v.reads("x", &ReluForward::x, "N C");
  }
  double flops() const { return 1.0 * static_cast<double>(x.size()); }
};

struct ReluBackward {
  static constexpr std::string_view name = "relu_backward";
  static constexpr std::string_view summary = "d_x = d_out where x is above 0, else 0";
  Tensor d_x, d_out, x;

  template <class V>
  static void visit(V& v) {
    v.writes("d_x", &ReluBackward::d_x, "N C").alias("d_out");
    v.reads("d_out", &ReluBackward::d_out, "N C");
    v.reads("x", &ReluBackward::x, "N C");
  }
  double flops() const { return 1.0 * static_cast<double>(x.size()); }
};

struct SigmoidForward {
  static constexpr std::string_view name = "sigmoid_forward";
  static constexpr std::string_view summary = "out = 1 / (1 + exp(-x))";
  Tensor out, x;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &SigmoidForward::out, "N C").alias("x");
    v.reads("x", &SigmoidForward::x, "N C");
  }
  double flops() const { return 4.0 * static_cast<double>(x.size()); }
};

struct SigmoidBackward {
  static constexpr std::string_view name = "sigmoid_backward";
  static constexpr std::string_view summary = "d_x = d_out * s (1 - s), s = sigmoid(x)";
  Tensor d_x, d_out, x;

  template <class V>
  static void visit(V& v) {
    v.writes("d_x", &SigmoidBackward::d_x, "N C").alias("d_out");
    v.reads("d_out", &SigmoidBackward::d_out, "N C");
    v.reads("x", &SigmoidBackward::x, "N C");
  }
  double flops() const { return 6.0 * static_cast<double>(x.size()); }
};

struct SwigluForward {
  static constexpr std::string_view name = "swiglu_forward";
  static constexpr std::string_view summary = "out = silu(gate) * up";
  Tensor out, gate, up;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &SwigluForward::out, "N F").alias("gate");
    v.reads("gate", &SwigluForward::gate, "N F");
    v.reads("up", &SwigluForward::up, "N F");
  }
  double flops() const { return 6.0 * static_cast<double>(gate.size()); }
};

struct SwigluBackward {
  static constexpr std::string_view name = "swiglu_backward";
  static constexpr std::string_view summary =
      "d_gate = d_out * up * silu'(gate), d_up = d_out * silu(gate)";
  Tensor d_gate, d_up, d_out, gate, up;

  template <class V>
  static void visit(V& v) {
    v.writes("d_gate", &SwigluBackward::d_gate, "N F").alias("gate");
    v.writes("d_up", &SwigluBackward::d_up, "N F").alias("up");
    v.reads("d_out", &SwigluBackward::d_out, "N F");
    v.reads("gate", &SwigluBackward::gate, "N F");
    v.reads("up", &SwigluBackward::up, "N F");
  }
  double flops() const { return 12.0 * static_cast<double>(gate.size()); }
};

struct GegluForward {
  static constexpr std::string_view name = "geglu_forward";
  static constexpr std::string_view summary = "out = gelu(gate) * up";
  Tensor out, gate, up;
  Approximation approximate = Approximation::tanh;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &GegluForward::out, "N F").alias("gate");
    v.reads("gate", &GegluForward::gate, "N F");
    v.reads("up", &GegluForward::up, "N F");
    v.choice("approximate", &GegluForward::approximate, {"tanh", "none"}, "which form of gelu");
  }
  double flops() const { return 11.0 * static_cast<double>(gate.size()); }
};

struct GegluBackward {
  static constexpr std::string_view name = "geglu_backward";
  static constexpr std::string_view summary =
      "d_gate = d_out * up * gelu'(gate), d_up = d_out * gelu(gate)";
  Tensor d_gate, d_up, d_out, gate, up;
  Approximation approximate = Approximation::tanh;

  template <class V>
  static void visit(V& v) {
    v.writes("d_gate", &GegluBackward::d_gate, "N F").alias("gate");
    v.writes("d_up", &GegluBackward::d_up, "N F").alias("up");
    v.reads("d_out", &GegluBackward::d_out, "N F");
    v.reads("gate", &GegluBackward::gate, "N F");
    v.reads("up", &GegluBackward::up, "N F");
    v.choice("approximate", &GegluBackward::approximate, {"tanh", "none"}, "which form of gelu");
  }
  double flops() const { return 22.0 * static_cast<double>(gate.size()); }
};

}  // namespace msltx::ops
