#include "msltx/base/executor.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>
#include <utility>
#include <vector>

#include "msltx/base/error.h"

namespace msltx {
namespace {

TEST(Executor, RunsEveryTaskOnce) {
  for (int threads : {1, 2, 3, 8}) {
    Executor executor(threads);
    std::vector<std::atomic<int>> seen(1000);
    for (int round = 0; round < 50; ++round) {
      executor.parallel_for(1000, [&](int64_t task, int worker) {
        ASSERT_LT(worker, threads);
        seen[static_cast<size_t>(task)].fetch_add(1);
      });
    }
    for (auto& count : seen) EXPECT_EQ(count.load(), 50);
  }
}

TEST(Executor, ManySmallSectionsInOneJob) {
  Executor executor(3);
  std::atomic<int64_t> sum{0};
  executor.run([&] {
    for (int round = 0; round < 20000; ++round) {
      executor.parallel_for(3, [&](int64_t task, int) { sum += task; });
    }
  });
  EXPECT_EQ(sum.load(), 60000);
}

TEST(Executor, NestedTasksRunInPlace) {
  Executor executor(2);
  std::atomic<int> sum{0};
  executor.parallel_for(4, [&](int64_t, int outer) {
    executor.parallel_for(5, [&](int64_t, int inner) {
      EXPECT_EQ(inner, outer);
      ++sum;
    });
  });
  EXPECT_EQ(sum.load(), 20);
}

TEST(Executor, RethrowsAndGoesOn) {
  Executor executor(2);
  EXPECT_THROW(executor.parallel_for(10,
                                     [](int64_t task, int) {
                                       if (task == 3) throw ValueError("three");
                                     }),
               ValueError);
  int runs = 0;
  executor.run([&] { ++runs; });
  EXPECT_EQ(runs, 1);
}

TEST(Executor, PollsWhileAJobRunsAndCancels) {
  Executor executor(2);
  EXPECT_THROW(executor.run(
                   [&] {
                     for (;;) {
                       executor.check_cancelled();
                       std::this_thread::sleep_for(std::chrono::milliseconds(1));
                     }
                   },
                   [] { return true; }),
               Cancelled);
}

// A job that another thread runs until release().
class OthersJob {
 public:
  explicit OthersJob(Executor& executor)
      : thread_([this, &executor] {
          executor.run([&] {
            // Every worker has started: locks that a sanitizer takes meanwhile would stay locked in
            // a child that is forked then.
            std::atomic<int> here{0};
            executor.parallel_for(executor.threads(), [&](int64_t, int) {
              ++here;
              while (here < executor.threads()) std::this_thread::yield();
            });
            begun_ = true;
            while (!released_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
            cancelled_ = executor.cancelled();
          });
        }) {
    while (!begun_) std::this_thread::yield();
  }
  ~OthersJob() { release(); }
  // Lets it end; true where it was cancelled.
  bool release() {
    released_ = true;
    if (thread_.joinable()) thread_.join();
    return cancelled_;
  }

 private:
  std::atomic<bool> begun_{false}, released_{false}, cancelled_{false};
  std::thread thread_;
};

TEST(Executor, ACallerThatWaitsForItsTurnLeavesAlone) {
  Executor executor(2);
  OthersJob other(executor);
  int runs = 0, polls = 0;
  EXPECT_THROW(executor.run([&] { ++runs; }, [&] { return ++polls == 2; }), Cancelled);
  EXPECT_THROW(executor.set_threads(3, [] { return true; }), Cancelled);
  EXPECT_EQ(polls, 2);
  EXPECT_EQ(executor.threads(), 2);
  EXPECT_FALSE(other.release());
  EXPECT_EQ(runs, 0);
  executor.run([&] { ++runs; }, [] { return true; });
  EXPECT_EQ(runs, 1);
}

TEST(Executor, CallersTakeTurnsInTheOrderInWhichTheyCame) {
  Executor executor(2);
  OthersJob first(executor);
  std::vector<int> order;
  std::atomic<int> waiting{0};
  const auto add = [&](int who) {
    bool counted = false;
    executor.run([&] { order.push_back(who); },
                 [&] {
                   if (!std::exchange(counted, true)) ++waiting;
                   return false;
                 });
  };
  std::vector<std::thread> callers;
  for (int who = 0; who < 3; ++who) {
    callers.emplace_back(add, who);
    while (waiting <= who) std::this_thread::yield();
  }
  first.release();
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
}

TEST(Executor, SectionsOfDifferentSizesKeepTheirTasksApart) {
  Executor executor(3);
  std::vector<std::atomic<int>> seen(40);
  executor.run([&] {
    for (int round = 0; round < 100000; ++round) {
      for (const int64_t tasks : {2, 3, 5, 9, 33}) {
        for (auto& count : seen) count.store(0, std::memory_order_relaxed);
        executor.parallel_for(tasks, [&](int64_t task, int) {
          seen[static_cast<size_t>(task)].fetch_add(1, std::memory_order_relaxed);
        });
        for (int64_t task = 0; task < tasks; ++task) {
          ASSERT_EQ(seen[static_cast<size_t>(task)].load(), 1) << task << " of " << tasks;
        }
      }
    }
  });
}

TEST(Executor, ItsOwnJobCannotChangeItsThreads) {
  Executor executor(2);
  EXPECT_THROW(executor.run([&] { executor.set_threads(3); }), BusyError);
  EXPECT_THROW(executor.parallel_for(4, [&](int64_t, int) { executor.set_threads(3); }), BusyError);
  EXPECT_EQ(executor.threads(), 2);
}

TEST(Executor, SerializesCallers) {
  Executor executor(2);
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int i = 0; i < 200; ++i) executor.parallel_for(7, [&](int64_t t, int) { sum += t; });
    });
  }
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(sum.load(), 4 * 200 * 21);
}

// The exit code of a forked child that does `work`; -1 where a signal ended it, as after 20 s.
template <class Work>
int exit_code_of_child(const Work& work) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    _exit(work());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int sum_of_tasks(Executor& executor) {
  std::atomic<int> sum{0};
  executor.parallel_for(8, [&](int64_t, int) { ++sum; });
  return sum.load();
}

TEST(Executor, IsFreshAfterFork) {
  Executor executor(2);
  executor.parallel_for(2, [](int64_t, int) {});
  EXPECT_EQ(exit_code_of_child([&] { return sum_of_tasks(executor); }), 8);
}

TEST(Executor, IsFreshAfterForkWhileAnotherThreadHasAJob) {
  Executor executor(2);
  OthersJob other(executor);
  EXPECT_EQ(exit_code_of_child([&] { return sum_of_tasks(executor); }), 8);
}

TEST(Executor, MoreThreadsThanTheSystemGivesAreAnError) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer cannot live in so little address space";
#endif
  const int code = exit_code_of_child([] {
    const rlimit limit{int64_t{2} << 30, int64_t{2} << 30};  // the stacks of some 250 threads
    if (setrlimit(RLIMIT_AS, &limit) != 0) return 2;
    try {
      Executor executor(1024);
      executor.run([] {});
    } catch (const Error&) {
      return 1;
    }
    return 0;
  });
  EXPECT_EQ(code, 1);
}

TEST(Executor, ChangesItsThreadCount) {
  Executor executor(1);
  executor.parallel_for(2, [](int64_t, int) {});
  executor.set_threads(4);
  EXPECT_EQ(executor.threads(), 4);
  std::atomic<int> sum{0};
  executor.parallel_for(100, [&](int64_t, int) { ++sum; });
  EXPECT_EQ(sum.load(), 100);
  EXPECT_THROW(executor.set_threads(0), ValueError);
}

TEST(Executor, DefaultThreadCountIsPositive) { EXPECT_GE(default_thread_count(), 1); }

}  // namespace
}  // namespace msltx
