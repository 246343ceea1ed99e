#include "msltx/base/executor.h"

#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

#include "msltx/base/error.h"

namespace msltx {
namespace {

constexpr auto kPollInterval = std::chrono::milliseconds(100);
// About 50 us at 3 GHz: longer than the serial code between two parallel sections of a training
// step, shorter than what a sleeping worker costs to wake.
constexpr int kSpins = 4000;
constexpr int kMaxThreads = 1024;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

struct Place {
  const void* pool = nullptr;
  int worker = -1;
  bool in_task = false;
};
thread_local Place here;

int thread_count_from_environment() {
  const char* text = std::getenv("MSLTX_NUM_THREADS");
  if (!text || !*text) return default_thread_count();
  char* end = nullptr;
  const long n = std::strtol(text, &end, 10);
  if (*end || n < 1 || n > kMaxThreads) {
    throw ValueError(concat("MSLTX_NUM_THREADS is ", text, "; it takes 1 to ", kMaxThreads));
  }
  return static_cast<int>(n);
}

}  // namespace

// A parallel section is published as an epoch. `claim_` holds (epoch << 32 | next task): a worker
// that comes late finds either another epoch or no task left, so nobody waits for sleepers.
class Executor::Pool {
 public:
  explicit Pool(int threads) {
    for (int w = 0; w < threads; ++w) {
      workers_.emplace_back([this, w] {
        here = {this, w, false};
        w == 0 ? lead() : help(w);
      });
    }
  }

  ~Pool() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    job_posted_.notify_all();
    section_posted_.notify_all();
    for (auto& worker : workers_) worker.join();
  }

  bool owns_this_process() const { return process_ == getpid(); }

  void run(const std::function<void()>& job, const std::function<void()>& poll) {
    std::exception_ptr error;
    bool done = false;
    std::unique_lock lock(mutex_);
    job_ = &job;
    job_error_ = &error;
    job_done_ = &done;
    job_posted_.notify_one();
    while (!job_ended_.wait_for(lock, kPollInterval, [&] { return done; })) {
      if (!poll) continue;
      lock.unlock();
      poll();
      lock.lock();
    }
    lock.unlock();
    if (error) std::rethrow_exception(error);
  }

  void section(int64_t tasks, TaskFn fn, void* context) {
    if (tasks >= int64_t{1} << 32) {
      throw ValueError(concat("a parallel section of ", tasks, " tasks; the limit is 2^32 - 1"));
    }
    fn_.store(fn, std::memory_order_relaxed);
    context_.store(context, std::memory_order_relaxed);
    tasks_.store(tasks, std::memory_order_relaxed);
    done_.store(0, std::memory_order_relaxed);
    failed_.store(false, std::memory_order_relaxed);
    section_error_ = nullptr;
    const uint64_t epoch = (claim_.load(std::memory_order_relaxed) >> 32) + 1;
    claim_.store(epoch << 32);
    if (sleepers_.load() > 0) {
      {
        std::lock_guard lock(mutex_);
      }
      section_posted_.notify_all();
    }
    take_tasks(0);
    // A worker may have been descheduled in the middle of a task: give it this processor.
    for (int i = 0; done_.load(std::memory_order_acquire) != tasks; ++i) {
      i < kSpins ? pause() : std::this_thread::yield();
    }
    if (section_error_) std::rethrow_exception(std::exchange(section_error_, nullptr));
  }

 private:
  void lead() {
    std::unique_lock lock(mutex_);
    for (;;) {
      job_posted_.wait(lock, [&] { return stop_ || job_ != nullptr; });
      if (stop_) return;
      const auto* job = std::exchange(job_, nullptr);
      lock.unlock();
      std::exception_ptr error;
      try {
        (*job)();
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      *job_error_ = error;
      *job_done_ = true;
      job_ended_.notify_all();
    }
  }

  void help(int worker) {
    uint64_t seen = 0;
    for (;;) {
      if (!await_section(seen)) return;
      seen = claim_.load(std::memory_order_acquire) >> 32;
      take_tasks(worker);
    }
  }

  // True when there is an epoch other than `seen`, false when the pool stops.
  bool await_section(uint64_t seen) {
    for (int i = 0; i < kSpins; ++i) {
      if (claim_.load(std::memory_order_acquire) >> 32 != seen) return true;
      pause();
    }
    std::unique_lock lock(mutex_);
    sleepers_.fetch_add(1);
    section_posted_.wait(lock, [&] { return stop_ || claim_.load() >> 32 != seen; });
    sleepers_.fetch_sub(1);
    return !stop_;
  }

  void take_tasks(int worker) {
    uint64_t claim = claim_.load(std::memory_order_acquire);
    for (;;) {
      const TaskFn fn = fn_.load(std::memory_order_relaxed);
      void* context = context_.load(std::memory_order_relaxed);
      const auto task = static_cast<int64_t>(claim & 0xffffffffu);
      if (task >= tasks_.load(std::memory_order_relaxed)) return;
      // Success proves that the section is still the one whose fn and context were read.
      if (!claim_.compare_exchange_weak(claim, claim + 1, std::memory_order_acq_rel)) continue;
      if (!failed_.load(std::memory_order_relaxed)) run_task(fn, context, task, worker);
      ++claim;
      done_.fetch_add(1, std::memory_order_release);
    }
  }

  void run_task(TaskFn fn, void* context, int64_t task, int worker) {
    here.in_task = true;
    try {
      fn(context, task, worker);
    } catch (...) {
      std::lock_guard lock(mutex_);
      if (!section_error_) section_error_ = std::current_exception();
      failed_.store(true, std::memory_order_relaxed);
    }
    here.in_task = false;
  }

  const pid_t process_ = getpid();
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  bool stop_ = false;

  std::condition_variable job_posted_, job_ended_;
  const std::function<void()>* job_ = nullptr;
  std::exception_ptr* job_error_ = nullptr;
  bool* job_done_ = nullptr;

  std::condition_variable section_posted_;
  std::atomic<int> sleepers_{0};
  std::atomic<uint64_t> claim_{0};
  std::atomic<TaskFn> fn_{nullptr};
  std::atomic<void*> context_{nullptr};
  std::atomic<int64_t> tasks_{0};
  alignas(64) std::atomic<int64_t> done_{0};
  std::atomic<bool> failed_{false};
  std::exception_ptr section_error_;
};

Executor::Executor(int threads) : threads_(threads) {
  if (threads < 1 || threads > kMaxThreads) {
    throw ValueError(concat("threads is ", threads, "; it takes 1 to ", kMaxThreads));
  }
}

Executor::~Executor() = default;

Executor& Executor::global() {
  // Never destroyed: a worker may still be inside a kernel when static objects go.
  static auto* executor = new Executor(thread_count_from_environment());
  return *executor;
}

Executor::Pool& Executor::pool() {
  if (pool_ && !pool_->owns_this_process()) {
    // The workers did not survive fork(); joining them would hang, so the old pool is left behind.
    static_cast<void>(pool_.release());
  }
  if (!pool_) pool_ = std::make_unique<Pool>(threads_);
  return *pool_;
}

void Executor::set_threads(int threads) {
  if (threads < 1 || threads > kMaxThreads) {
    throw ValueError(concat("threads is ", threads, "; it takes 1 to ", kMaxThreads));
  }
  if (here.pool != nullptr && here.pool == pool_.get()) {
    throw BusyError(
        "the number of threads cannot change inside a job, whose end it would wait for");
  }
  std::lock_guard lock(jobs_);
  if (threads == threads_) return;
  pool();
  pool_.reset();
  threads_ = threads;
}

void Executor::run(const std::function<void()>& job, const std::function<void()>& poll) {
  if (here.pool != nullptr && here.pool == pool_.get()) return job();
  std::lock_guard lock(jobs_);
  cancelled_.store(false, std::memory_order_relaxed);
  pool().run(job, poll);
}

void Executor::parallel_for_erased(int64_t tasks, TaskFn fn, void* context) {
  if (tasks <= 0) return;
  const bool inside = here.pool != nullptr && here.pool == pool_.get();
  if (inside && (here.in_task || tasks == 1 || threads_ == 1)) {
    for (int64_t task = 0; task < tasks; ++task) fn(context, task, here.worker);
  } else if (inside) {
    pool_->section(tasks, fn, context);
  } else {
    run([&] { parallel_for_erased(tasks, fn, context); });
  }
}

void Executor::check_cancelled() const {
  if (cancelled()) throw Cancelled();
}

}  // namespace msltx
