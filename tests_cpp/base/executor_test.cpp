#include "msltx/base/executor.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <numeric>
#include <thread>
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
                   [&] { executor.cancel(); }),
               Cancelled);
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

TEST(Executor, IsFreshAfterFork) {
  Executor executor(2);
  executor.parallel_for(2, [](int64_t, int) {});
  const pid_t child = fork();
  if (child == 0) {
    std::atomic<int> sum{0};
    executor.parallel_for(8, [&](int64_t, int) { ++sum; });
    _exit(sum.load() == 8 ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
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
