// A strided tensor as the contiguous runs of elements that it is made of.
#pragma once

#include <array>
#include <cstdint>

#include "msltx/base/tensor.h"

namespace msltx::ops {

// fn(element offset, elements) for each run, in the order of the axes; one where it is contiguous.
template <class Fn>
void for_each_run(const Tensor& t, Fn&& fn) {
  if (t.size() == 0) return;
  if (t.contiguous()) return fn(int64_t{0}, t.size());
  const int outer = t.rank - 1;
  std::array<int64_t, Tensor::kMaxRank> index{};
  for (;;) {
    int64_t offset = 0;
    for (int i = 0; i < outer; ++i) offset += index[static_cast<size_t>(i)] * t.stride(i);
    fn(offset, t.dim(-1));
    int axis = outer - 1;
    while (axis >= 0 && ++index[static_cast<size_t>(axis)] == t.dim(axis)) {
      index[static_cast<size_t>(axis--)] = 0;
    }
    if (axis < 0) return;
  }
}

}  // namespace msltx::ops
