// The same numbers in another type. Where a model needs them in one, its kernels convert on the
// way; this is the conversion by itself.
#pragma once

#include "msltx/ops/op.h"

namespace msltx::ops {

enum class FloatType : int64_t { float32, bfloat16 };

struct Cast {
  static constexpr std::string_view name = "cast";
  static constexpr std::string_view summary =
      "out = x in another type; to bfloat16 rounded to nearest, ties to even, a NaN to a quiet one";
  Tensor out, x;
  FloatType dtype = FloatType::float32;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &Cast::out, "N C", "of type dtype").wide_by("dtype");
    v.reads("x", &Cast::x, "N C").wide();
    v.choice("dtype", &Cast::dtype, {"float32", "bfloat16"}, "type of out").required();
  }
  double flops() const { return 0; }
};

}  // namespace msltx::ops
