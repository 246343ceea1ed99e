// The same numbers in another order.
#pragma once

#include "msltx/ops/op.h"

namespace msltx::ops {

struct Transpose {
  static constexpr std::string_view name = "transpose";
  static constexpr std::string_view summary = "out[c, m] = x[m, c]";
  Tensor out, x;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &Transpose::out, "C M");
    v.reads("x", &Transpose::x, "M C");
  }
  double flops() const { return 0; }
};

}  // namespace msltx::ops
