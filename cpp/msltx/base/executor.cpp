#include "msltx/base/executor.h"

#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
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

// A parallel section is published as an epoch. `claim_` holds (epoch << 32 | tasks not yet taken):
// a worker that comes late finds either another epoch or no task left, so nobody waits for
// sleepers.
class Executor::Pool {
 public:
  // Where the calling thread stands: on a worker of a pool, or nowhere.
  struct Place {
    const Executor* executor = nullptr;
    Pool* pool = nullptr;
    int worker = -1;
    bool in_task = false;
  };
  static thread_local Place here;

  Pool(Executor& executor, int threads) : executor_(executor) {
    workers_.reserve(static_cast<size_t>(threads));
    try {
      for (int w = 0; w < threads; ++w) {
        workers_.emplace_back([this, w] {
          here = {&executor_, this, w, false};
          w == 0 ? lead() : help(w);
        });
      }
    } catch (const std::system_error& error) {
      const size_t started = workers_.size();
      stop();
      throw Error(
          concat("cannot start more than ", started, " of ", threads, " threads: ", error.what()));
    }
  }

  ~Pool() { stop(); }

  void run(const std::function<void()>& job, const Poll& poll) {
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
      if (poll()) executor_.cancel();
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
    claim_.store(epoch << 32 | static_cast<uint64_t>(tasks));
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
  void stop() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    job_posted_.notify_all();
    section_posted_.notify_all();
    for (auto& worker : workers_) worker.join();
  }

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
    // Where no task is left the next section may be on its way in: nothing of it is looked at.
    while ((claim & 0xffffffffu) != 0) {
      const TaskFn fn = fn_.load(std::memory_order_relaxed);
      void* context = context_.load(std::memory_order_relaxed);
      const int64_t task =
          tasks_.load(std::memory_order_relaxed) - static_cast<int64_t>(claim & 0xffffffffu);
      // Success proves that a task of this section was left, so that what was read is its own.
      if (!claim_.compare_exchange_weak(claim, claim - 1, std::memory_order_acq_rel)) continue;
      if (!failed_.load(std::memory_order_relaxed)) run_task(fn, context, task, worker);
      --claim;
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

  Executor& executor_;
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

thread_local Executor::Pool::Place Executor::Pool::here;

// What an executor has in one process: the queue of callers and the workers. Neither survives
// fork(), so a child begins anew and leaves its parent's behind: a lock in it may be held by a
// thread that is gone, and joining its workers would hang.
struct Executor::Local {
  const pid_t process = getpid();
  std::mutex mutex;
  std::condition_variable next;
  std::deque<const Turn*> callers;  // the first one's turn it is
  std::unique_ptr<Pool> pool;       // touched by that one only
};

// A caller's turn, from when it comes, behind those that came before, until this is destroyed.
class Executor::Turn {
 public:
  Turn(Local& local, const Poll& poll) : local_(local) {
    std::unique_lock lock(local_.mutex);
    local_.callers.push_back(this);
    while (!local_.next.wait_for(lock, kPollInterval,
                                 [&] { return local_.callers.front() == this; })) {
      if (!poll) continue;
      lock.unlock();
      const bool leave = poll();
      lock.lock();
      if (!leave) continue;
      end();
      throw Cancelled();
    }
  }
  ~Turn() {
    std::lock_guard lock(local_.mutex);
    end();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  void end() {
    std::erase(local_.callers, this);
    local_.next.notify_all();
  }
  Local& local_;
};

Executor::~Executor() {
  const Local* local = local_.load();
  if (local && local->process == getpid()) delete local;
}

Executor& Executor::global() {
  // Never destroyed: a worker may still be inside a kernel when static objects go.
  static auto* executor = new Executor(thread_count_from_environment());
  return *executor;
}

Executor::Local& Executor::local() {
  Local* known = local_.load(std::memory_order_acquire);
  if (known && known->process == getpid()) return *known;
  auto fresh = std::make_unique<Local>();
  if (!local_.compare_exchange_strong(known, fresh.get(), std::memory_order_acq_rel)) return *known;
  return *fresh.release();
}

void Executor::set_threads(int threads, const Poll& poll) {
  if (threads < 1 || threads > kMaxThreads) {
    throw ValueError(concat("threads is ", threads, "; it takes 1 to ", kMaxThreads));
  }
  if (Pool::here.executor == this) {
    throw BusyError(
        "the number of threads cannot change inside a job, whose end it would wait for");
  }
  Local& mine = local();
  const Turn turn(mine, poll);
  if (threads == threads_) return;
  mine.pool.reset();
  threads_ = threads;
}

void Executor::run(const std::function<void()>& job, const Poll& poll) {
  if (Pool::here.executor == this) return job();
  Local& mine = local();
  const Turn turn(mine, poll);
  cancelled_.store(false, std::memory_order_relaxed);
  if (!mine.pool) mine.pool = std::make_unique<Pool>(*this, threads_);
  mine.pool->run(job, poll);
}

void Executor::parallel_for_erased(int64_t tasks, TaskFn fn, void* context) {
  if (tasks <= 0) return;
  const Pool::Place& here = Pool::here;
  if (here.executor != this) {
    run([&] { parallel_for_erased(tasks, fn, context); });
  } else if (here.in_task || tasks == 1 || threads_ == 1) {
    for (int64_t task = 0; task < tasks; ++task) fn(context, task, here.worker);
  } else {
    here.pool->section(tasks, fn, context);
  }
}

void Executor::check_cancelled() const {
  if (cancelled()) throw Cancelled();
}

}  // namespace msltx
