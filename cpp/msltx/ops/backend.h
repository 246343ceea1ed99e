// Backends: who can run which op. A backend is known by name to the table below and to nobody else.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "msltx/base/executor.h"
#include "msltx/ops/op_list.h"
#include "msltx/ops/scratch.h"

namespace msltx::ops {

class Stream;

struct Kernel {
  void (*run)(Stream&, const void* op) = nullptr;
  ScratchNeed (*scratch)(const void* op) = nullptr;
  bool runs_bfloat16 = false;  // itself; the others are given widened copies (widened.h)
};

// How a prepared weight will be used; a backend may keep a form of it for each use.
struct WeightUse {
  bool forward = true;    // rows x weight^T
  bool backward = false;  // rows x weight
  DType compute = DType::float32;
};

class Backend {
 public:
  Backend(std::string_view name, std::string_view description)
      : name_(name), description_(description), own_(kOpCount), fallback_(kOpCount) {}
  virtual ~Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  std::string_view name() const { return name_; }
  std::string_view description() const { return description_; }
  virtual Memory memory() const { return Memory::host; }

  // True where the backend itself has the op for this compute type, without a fallback; in
  // bfloat16 perhaps by converting.
  bool supports(const OpInfo& info, DType compute) const;

  // True where that is so in bfloat16: its kernel knows float32 alone, and is given widened copies.
  bool widens(const OpInfo& info) const {
    return supports(info, DType::bfloat16) && !own_[static_cast<size_t>(info.index)].runs_bfloat16;
  }

  // The backend's own kernel or, in host memory, the reference's.
  const Kernel& kernel(size_t index) const {
    return own_[index].run ? own_[index] : fallback_[index];
  }
  // Whose kernel that is.
  const Backend& runs_on(size_t index) const {
    return own_[index].run || !fallback_backend_ ? *this : *fallback_backend_;
  }

  // Encodes what brings a weight's private forms up to date with its version, if it keeps any.
  // Called on a parallel stream before the ops that use the weight.
  virtual void prepare_weight(Stream&, const Tensor& /*weight*/, WeightUse) const {}
  // Bytes that prepare_weight keeps for a weight of this shape, for the memory plan.
  virtual int64_t prepared_bytes(const Tensor& /*weight*/, WeightUse) const { return 0; }

  // False where matrix products of bfloat16 are made in float32, from widened copies.
  virtual bool has_bfloat16_products() const { return false; }

  // The most FLOP/s that matrix products of this type reach here, measured now on all of the
  // executor's workers; 0 where the backend has no fast products.
  virtual double matrix_peak(Executor&, DType) const { return 0; }

 protected:
  // add<kernel>() or add<kernel, scratch>(), where kernel is void(Stream&, const Op&) and scratch
  // is ScratchNeed(const Op&): the op follows from the signature.
  template <auto run, auto scratch = nullptr>
  void add(bool runs_bfloat16 = false) {
    add_for<run, scratch>(run, runs_bfloat16);
  }

 private:
  template <auto run, auto scratch, class Op>
  void add_for(void (*)(Stream&, const Op&), bool runs_bfloat16) {
    Kernel kernel;
    kernel.runs_bfloat16 = runs_bfloat16;
    kernel.run = [](Stream& stream, const void* op) { run(stream, *static_cast<const Op*>(op)); };
    if constexpr (!std::is_null_pointer_v<decltype(scratch)>) {
      kernel.scratch = [](const void* op) { return scratch(*static_cast<const Op*>(op)); };
    }
    own_[kIndexOf<Op>] = kernel;
  }

  std::string_view name_, description_;
  std::vector<Kernel> own_;       // empty where the backend lacks the op
  std::vector<Kernel> fallback_;  // the reference's, for those
  const Backend* fallback_backend_ = nullptr;
  friend class BackendTable;
};

// All backends of this build that can run on this machine, the fastest last.
std::span<const Backend* const> backends();
// Throws ValueError naming the backends there are.
const Backend& backend(std::string_view name);
// MSLTX_BACKEND, or else the fastest.
const Backend& default_backend();

}  // namespace msltx::ops
