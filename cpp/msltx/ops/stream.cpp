#include "msltx/ops/stream.h"

#include <cstring>

#include "msltx/base/error.h"
#include "msltx/ops/runs.h"
#include "msltx/ops/widened.h"

namespace msltx::ops {
void Stream::encode(size_t index, const void* op) {
  if (!shielded_) executor_->check_cancelled();
  ++counts_.encodes;
  const Kernel& kernel = backend_->kernel(index);
  const OpInfo& info = op_info(index);
  const bool widen = is_widened(kernel, info, op);
  if (widen || kernel.scratch) reserve_scratch(scratch_need(kernel, info, op));
  const auto run = [&] { widen ? run_widened(info, kernel, op) : kernel.run(*this, op); };
  if (!interceptor_) [[likely]] {
    return run();
  }
  const Encoding encoding{info, op, scope_, worker_, backend_->runs_on(index)};
  interceptor_->before(encoding);
  if (interceptor_->runs_ops()) run();
  interceptor_->after(encoding);
}

void Stream::run_widened(const OpInfo& info, const Kernel& kernel, const void* op) {
  Widened wide(info, op);
  const ScratchNeed own = kernel.scratch ? kernel.scratch(wide.op()) : ScratchNeed{};
  wide.place(shared_scratch() + Arena::aligned(own.shared));
  wide.read(*this);
  kernel.run(*this, wide.op());
  wide.write(*this);
}

void Stream::reserve_scratch(const ScratchNeed& need) {
  const int64_t per_worker = Arena::aligned(need.per_worker);
  if (is_serial()) {
    shared_offset_ = per_worker;
    scratch_->reserve_worker(worker_, per_worker + need.shared);
    return;
  }
  if (scratch_->workers() < executor_->threads()) {
    throw ValueError(concat("scratch for ", scratch_->workers(), " workers is too little for the ",
                            executor_->threads(), " of the executor"));
  }
  for (int w = 0; w < scratch_->workers(); ++w) scratch_->reserve_worker(w, per_worker);
  scratch_->reserve_shared(need.shared);
}

void Stream::write(const Tensor& tensor, const void* host) {
  const auto* from = static_cast<const char*>(host);
  const int64_t element = size_of(tensor.dtype);
  for_each_run(tensor, [&](int64_t offset, int64_t count) {
    std::memcpy(tensor.data<char>() + offset * element, from, static_cast<size_t>(count * element));
    from += count * element;
  });
}

void Stream::read(const Tensor& tensor, void* host) const {
  auto* to = static_cast<char*>(host);
  const int64_t element = size_of(tensor.dtype);
  for_each_run(tensor, [&](int64_t offset, int64_t count) {
    std::memcpy(to, tensor.data<char>() + offset * element, static_cast<size_t>(count * element));
    to += count * element;
  });
}

}  // namespace msltx::ops
