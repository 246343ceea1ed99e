// Stream: ops are encoded into it in order. A parallel stream cuts an op's tiles over the
// executor's workers; a serial stream runs inside one task, on that task's worker. On a CPU an op
// runs when it is encoded; nothing may rely on that: results are there after wait().
#pragma once

#include <cstdint>
#include <string_view>

#include "msltx/base/executor.h"
#include "msltx/ops/backend.h"
#include "msltx/ops/op_list.h"
#include "msltx/ops/scratch.h"

namespace msltx::ops {

class Stream;

// What an interceptor sees of an op that is about to run.
struct Encoding {
  const OpInfo& info;
  const void* op;
  std::string_view scope;  // "blocks.3.attn"
  int worker;              // -1 on a parallel stream
  const Backend& backend;  // whose kernel runs
};

// Profiling, diagnostics and tracing hook in here; kernels know nothing of them. On a stream that
// is not in_order() the calls come from several workers at once.
class Interceptor {
 public:
  virtual ~Interceptor() = default;
  virtual void before(const Encoding&) {}
  virtual void after(const Encoding&) {}
  // True where ops must be seen one at a time in program order: sections then run as one chunk.
  virtual bool wants_order() const { return false; }
  // False keeps ops from running: the memory plan asks what they need without doing them.
  virtual bool runs_ops() const { return true; }
};

struct StreamCounts {
  int64_t encodes = 0;
  int64_t waits = 0;
};

class Stream {
 public:
  Stream(const Backend& backend, Executor& executor, Scratch& scratch,
         Interceptor* interceptor = nullptr)
      : backend_(&backend), executor_(&executor), scratch_(&scratch), interceptor_(interceptor) {}

  // A serial stream for the task that runs on `worker`.
  Stream serial(int worker) const {
    Stream stream = *this;
    stream.worker_ = worker;
    stream.counts_ = {};
    return stream;
  }

  template <class Op>
  void encode(const Op& op) {
    encode(kIndexOf<Op>, &op);
  }
  void encode(size_t index, const void* op);

  void submit() {}  // a device starts on what has been encoded; on a CPU that has run already
  void wait() { ++counts_.waits; }

  // Host data in and out of a tensor; `host` has the tensor's bytes, contiguous. read() needs
  // wait().
  void write(const Tensor& tensor, const void* host);
  void read(const Tensor& tensor, void* host) const;

  const Backend& backend() const { return *backend_; }
  Executor& executor() const { return *executor_; }
  Scratch& scratch() const { return *scratch_; }
  bool is_serial() const { return worker_ >= 0; }
  bool in_order() const { return interceptor_ && interceptor_->wants_order(); }
  const StreamCounts& counts() const { return counts_; }
  void add_counts(const StreamCounts& other) {
    counts_.encodes += other.encodes;
    counts_.waits += other.waits;
  }

  // The name under which the ops of a layer are seen by interceptors, while it lives.
  class Scope {
   public:
    Scope(Stream& stream, std::string_view name) : stream_(stream), previous_(stream.scope_) {
      stream.scope_ = name;
    }
    ~Scope() { stream_.scope_ = previous_; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Stream& stream_;
    std::string_view previous_;
  };

  // Ops encoded while it lives run even where work was cancelled: an update of many parameters
  // happens whole or not at all.
  class Shield {
   public:
    explicit Shield(Stream& stream) : stream_(stream), before_(stream.shielded_) {
      if (!before_) stream.executor_->check_cancelled();
      stream.shielded_ = true;
    }
    ~Shield() { stream_.shielded_ = before_; }
    Shield(const Shield&) = delete;
    Shield& operator=(const Shield&) = delete;

   private:
    Stream& stream_;
    bool before_;
  };

  // For kernels ---------------------------------------------------------------------------------

  // fn(task, worker) for each task; in order on this worker where the stream is serial.
  template <class Fn>
  void parallel_for(int64_t tasks, Fn&& fn) {
    if (is_serial()) {
      for (int64_t task = 0; task < tasks; ++task) fn(task, worker_);
    } else {
      executor_->parallel_for(tasks, fn);
    }
  }
  // What the op's scratch() asked for; contents undefined, 64-byte aligned.
  std::byte* worker_scratch(int worker) const { return scratch_->worker(worker); }
  std::byte* shared_scratch() const {
    return is_serial() ? scratch_->worker(worker_) + shared_offset_ : scratch_->shared();
  }

 private:
  void reserve_scratch(const ScratchNeed& need);
  void run_widened(const OpInfo& info, const Kernel& kernel, const void* op);

  const Backend* backend_;
  Executor* executor_;
  Scratch* scratch_;
  Interceptor* interceptor_;
  int worker_ = -1;
  bool shielded_ = false;
  int64_t shared_offset_ = 0;
  std::string_view scope_;
  StreamCounts counts_;
};

}  // namespace msltx::ops
