// The memory of one benchmark of an op.
#pragma once

#include <cstdint>
#include <deque>
#include <initializer_list>
#include <random>

#include "msltx/base/arena.h"
#include "msltx/base/tensor.h"
#include "msltx/ops/weight.h"

namespace msltx::bench {

// Tensors of one benchmark, filled with normal numbers, and the weights among them.
class OpMemory {
 public:
  Tensor tensor(std::initializer_list<int64_t> shape) {
    Tensor t = make(DType::float32, shape);
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < t.size(); ++i) {
      // A few thousand different numbers, drawn once: drawing millions would take longer than
      // the kernels.
      if (i < 4096) {
        t.data()[i] = normal(bits_);
      } else {
        t.data()[i] = t.data()[i - 4096];
      }
    }
    return t;
  }
  Tensor ids(int64_t count, int64_t below) {
    Tensor t = make(DType::int32, {count});
    for (int64_t i = 0; i < count; ++i) {
      t.data<int32_t>()[i] = static_cast<int32_t>(bits_() % static_cast<uint64_t>(below));
    }
    return t;
  }
  Tensor weight(int64_t out, int64_t in) {
    Tensor t = tensor({out, in});
    t.weight = &weights_.emplace_back();
    return t;
  }
  // The same numbers in bfloat16, in memory of the same strides.
  Tensor narrowed(const Tensor& wide) {
    int64_t elements = 1;
    for (int i = 0; i < wide.rank; ++i) elements += (wide.dim(i) - 1) * wide.stride(i);
    Tensor t = wide;
    t.dtype = DType::bfloat16;
    t.buffer = make(DType::bfloat16, {elements}).buffer;
    for (int64_t i = 0; i < elements; ++i) t.data<bfloat16>()[i] = bfloat16(wide.data()[i]);
    return t;
  }
  Tensor scalar(float value) {
    Tensor t = make(DType::float32, {1});
    t.data()[0] = value;
    return t;
  }
  const std::deque<Weight>& weights() const { return weights_; }

 private:
  Tensor make(DType dtype, std::initializer_list<int64_t> shape) {
    const int64_t bytes = Tensor::host(nullptr, dtype, shape).bytes();
    return arenas_.emplace_back(bytes).allocate(dtype, shape);
  }
  std::deque<Arena> arenas_;
  std::deque<Weight> weights_;
  std::mt19937_64 bits_{1};
};

}  // namespace msltx::bench
