// Executor: a fixed set of std::thread workers. run() puts a job on worker 0 while the calling
// thread sleeps in slices (so that it sees signals); parallel_for() inside a job shares tasks out
// to all workers, worker 0 included. Which worker takes which task is left open: results must not
// depend on it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <type_traits>

namespace msltx {

// min(affinity mask, cgroup quota, physical cores), at least 1.
int default_thread_count();

class Executor {
 public:
  explicit Executor(int threads);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // The one that bindings use: MSLTX_NUM_THREADS or default_thread_count() workers, started on
  // first use, and again in a forked child.
  static Executor& global();

  int threads() const { return threads_; }
  // Asked on the calling thread every 100 ms while it waits; true where it should not go on. It
  // must not throw.
  using Poll = std::function<bool()>;

  // Waits for its turn like a job, then goes on with `threads` workers. Throws ValueError outside
  // [1, 1024], Cancelled where `poll` says so, BusyError inside a job of this executor.
  void set_threads(int threads, const Poll& poll = {});

  // Runs `job` on worker 0 and returns when it has ended, rethrowing what it threw. Jobs of several
  // threads run one after the other, in the order in which they came. Where `poll` says stop, a
  // caller that waits for its turn leaves with Cancelled, and nobody else notices; its own job,
  // once begun, is cancelled. Called from a worker, the job runs at once, in place.
  void run(const std::function<void()>& job, const Poll& poll = {});

  // fn(task, worker) for every task in [0, tasks), on all workers; worker is in [0, threads()).
  // Called outside a job it becomes one; called inside a task, its own tasks run in order on that
  // worker. Rethrows the first exception; tasks not yet begun are then dropped.
  template <class Fn>
  void parallel_for(int64_t tasks, Fn&& fn) {
    using F = std::remove_reference_t<Fn>;
    parallel_for_erased(
        tasks,
        [](void* context, int64_t task, int worker) { (*static_cast<F*>(context))(task, worker); },
        const_cast<void*>(static_cast<const void*>(&fn)));
  }

  // The cancel flag: seen by check_cancelled(), which throws Cancelled; lowered when a job begins.
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }
  void check_cancelled() const;

 private:
  class Pool;
  class Turn;
  struct Local;
  using TaskFn = void (*)(void* context, int64_t task, int worker);
  void parallel_for_erased(int64_t tasks, TaskFn fn, void* context);
  Local& local();

  std::atomic<int> threads_;
  std::atomic<bool> cancelled_{false};
  std::atomic<Local*> local_{nullptr};
};

}  // namespace msltx
