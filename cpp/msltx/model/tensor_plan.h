// TensorPlan: a MemoryPlan whose entries know the tensors that become their views. The parts of a
// model declare what they keep through it, each beside the code that uses it.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "msltx/model/memory_plan.h"
#include "msltx/ops/chunks.h"

namespace msltx::model {

struct BatchShape {
  int64_t sequences = 0;  // B
  int64_t length = 0;     // T
  bool operator==(const BatchShape&) const = default;
  int64_t rows() const { return sequences * length; }
};

// What training keeps for the backward and what inference does without.
enum class Keep : uint8_t { for_backward, nothing };

// The sections between which a tensor lives: from its birth in the forward to its death in the
// backward, where partial sums of gradients live alone.
struct Life {
  int born, dies;
};

class TensorPlan {
 public:
  TensorPlan(BatchShape shape, int64_t chunks, Keep keep, DType compute)
      : shape_(shape), chunks_(chunks), keep_(keep), compute_(compute) {}
  TensorPlan(const TensorPlan&) = delete;
  TensorPlan& operator=(const TensorPlan&) = delete;

  int64_t rows() const { return shape_.rows(); }  // N
  int64_t chunks() const { return chunks_; }      // P, partial sums
  const BatchShape& shape() const { return shape_; }
  bool for_backward() const { return keep_ == Keep::for_backward; }
  DType compute() const { return compute_; }

  // Declares a tensor of the compute type; it becomes a view in allocate(), so it must stay where
  // it is.
  void add(Tensor& tensor, std::string name, std::initializer_list<int64_t> shape, Life life) {
    add(tensor, std::move(name), compute_, shape, life);
  }
  // The residual stream and its branches, their gradients, statistics and partial sums are float32
  // whatever the compute type; ids are int32.
  void add_float32(Tensor& tensor, std::string name, std::initializer_list<int64_t> shape,
                   Life life) {
    add(tensor, std::move(name), DType::float32, shape, life);
  }
  void add(Tensor& tensor, std::string name, DType dtype, std::initializer_list<int64_t> shape,
           Life life) {
    bound_.emplace_back(&tensor, plan_.add(std::move(name), dtype, shape, life.born, life.dies));
  }
  // Sums over the rows of each chunk, for the gradient of a vector of `size`.
  void add_partials(Tensor& tensor, std::string name, int64_t size, Life life) {
    add(tensor, std::move(name), DType::float32, {chunks_, size}, {life.dies, life.dies});
  }

  void lay_out() { plan_.lay_out(); }
  void allocate() {
    plan_.allocate();
    for (auto& [tensor, index] : bound_) *tensor = plan_.tensor(index);
  }
  const MemoryPlan& memory() const { return plan_; }

 private:
  BatchShape shape_;
  int64_t chunks_;
  Keep keep_;
  DType compute_;
  MemoryPlan plan_;
  std::vector<std::pair<Tensor*, size_t>> bound_;
};

// What a chunk of rows sees of a tensor (N, ...), and of partial sums (P, ...).
inline Tensor cut(const Tensor& t, const ops::Rows& r) { return t.rows(r.first_row, r.rows); }
inline Tensor cut_partials(const Tensor& t, const ops::Rows& r) {
  return t.rows(r.first_chunk, r.chunks);
}

}  // namespace msltx::model
