// Tracer: an interceptor that keeps a copy of what every op writes, and of what chosen ops read, in
// the order in which they ran. What the copies are called is their reader's business.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "msltx/ops/stream.h"

namespace msltx::ops {

struct TracedTensor {
  const FieldInfo* field;
  DType dtype;
  std::vector<int64_t> shape;
  std::vector<std::byte> values;  // in the order of the axes, without gaps
};

struct TracedOp {
  const OpInfo* info;
  std::string scope;
  std::vector<std::byte> op;  // the struct, for its attributes; its tensors may be gone
  std::vector<TracedTensor> tensors;
};

class Tracer : public Interceptor {
 public:
  // Keeps inputs of the ops that `with_inputs` says; `next` sees every op as well.
  explicit Tracer(std::function<bool(const OpInfo&)> with_inputs, Interceptor* next = nullptr)
      : with_inputs_(std::move(with_inputs)), next_(next) {}

  void before(const Encoding& encoding) override;
  void after(const Encoding& encoding) override;
  bool wants_order() const override { return true; }

  const std::vector<TracedOp>& ops() const { return ops_; }

 private:
  std::function<bool(const OpInfo&)> with_inputs_;
  Interceptor* next_;
  std::vector<TracedOp> ops_;
};

}  // namespace msltx::ops
