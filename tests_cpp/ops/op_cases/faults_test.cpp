// The checks of op cases can fail: a backend with one fault at a time, each seen for what it is.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <functional>

#include "msltx/base/error.h"
#include "msltx/ops/op_list.h"
#include "msltx/ops/stream.h"
#include "ops/op_cases/checks.h"

namespace msltx::ops::op_cases {
namespace {

// What replaces out = gelu(x) in element (n, c), or comes on top of it.
using Fault = std::function<void(Stream&, const GeluForward&, int64_t n, int worker)>;
Fault fault;

void gelu_with_fault(Stream& stream, const GeluForward& op) {
  const Backend& right = backend("reference");
  stream.parallel_for(op.x.dim(0), [&](int64_t n, int worker) {
    GeluForward row = op;
    row.x = op.x.rows(n, 1);
    row.out = op.out.rows(n, 1);
    Stream serial = stream.serial(worker);
    right.kernel(kIndexOf<GeluForward>).run(serial, &row);
    fault(stream, op, n, worker);
  });
}

ScratchNeed some_scratch(const GeluForward&) { return {.per_worker = 64, .shared = 64}; }

class FaultyBackend : public Backend {
 public:
  FaultyBackend() : Backend("faulty", "wrong on purpose") { add<gelu_with_fault, some_scratch>(); }
};

const OpInfo& gelu() { return op_info(kIndexOf<GeluForward>); }

Problem problem(bool strided) {
  return {gelu(), {.sizes = {{"N", 5}, {"C", 13}}, .strided = strided}};
}

std::string seen(const Fault& which, bool strided = false) {
  fault = which;
  const FaultyBackend backend;
  const std::string wrong = disagreement(problem(strided), backend);
  return wrong.empty() ? difference_between_ways(problem(strided), backend) : wrong;
}

float& out(const GeluForward& op, int64_t n, int64_t c) {
  return op.out.data()[n * op.out.stride(0) + c];
}

void expect_seen(const Fault& which, std::string_view what, bool strided = false) {
  const std::string wrong = seen(which, strided);
  EXPECT_NE(wrong.find(what), wrong.npos) << "expected: " << what << ", got: " << wrong;
}

TEST(Faults, NoneIsSeenWhereThereIsNone) {
  EXPECT_EQ(seen([](auto&&...) {}), "");
  EXPECT_EQ(seen([](auto&&...) {}, true), "");
}

TEST(Faults, ARowThatIsTooFarOff) {
  expect_seen(
      [](Stream&, const GeluForward& op, int64_t n, int) {
        if (n == 3) out(op, n, 7) += 1e-4f;
      },
      "out element 46");
}

TEST(Faults, AnElementNotWritten) {
  expect_seen(
      [](Stream&, const GeluForward& op, int64_t n, int) {
        if (n == 4) out(op, n, 12) = std::bit_cast<float>(0x7fc0deadu);
      },
      "out element 64 was not written");
}

TEST(Faults, WritingBetweenRowsBehindThemOrToTheInput) {
  const auto write_behind = [](Stream&, const GeluForward& op, int64_t n, int) {
    if (n == 4) out(op, n, 13) = 0;
  };
  expect_seen(write_behind, "out was written outside of its elements");
  expect_seen(
      [](Stream&, const GeluForward& op, int64_t n, int) {
        if (n == 2) out(op, n, 13) = 0;
      },
      "out was written outside of its elements", true);
  expect_seen([](Stream&, const GeluForward& op, int64_t, int) { op.x.data()[0] = 1; },
              "x was written outside of its elements");
}

TEST(Faults, WritingPastTheScratchAskedFor) {
  expect_seen(
      [](Stream& stream, const GeluForward&, int64_t, int worker) {
        stream.worker_scratch(worker)[stream.is_serial() ? 128 : 64] = std::byte{1};
      },
      "scratch was written past");
}

TEST(Faults, ReadingScratchThatNobodyWrote) {
  expect_seen(
      [](Stream& stream, const GeluForward& op, int64_t n, int worker) {
        out(op, n, 0) = *reinterpret_cast<float*>(stream.worker_scratch(worker));
      },
      "out element 0");
}

TEST(Faults, DependingOnThreadsStreamRowsOrMemory) {
  const auto nudge = [](const GeluForward& op, int64_t n) {
    out(op, n, 0) = std::nextafter(out(op, n, 0), 100.0f);
  };
  for (const int threads : {3, 8}) {
    expect_seen(
        [&](Stream& stream, const GeluForward& op, int64_t n, int) {
          if (stream.executor().threads() == threads) nudge(op, n);
        },
        concat(threads, " threads: out element 0 of 65 has other bits"));
  }
  expect_seen(
      [&](Stream& stream, const GeluForward& op, int64_t n, int) {
        if (stream.is_serial() && op.x.dim(0) == 5) nudge(op, n);
      },
      "a serial stream: out element 0");
  expect_seen(
      [&](Stream&, const GeluForward& op, int64_t n, int) {
        if (op.x.dim(0) == 1) nudge(op, n);
      },
      "chunks of 1 rows: out element 0");
  expect_seen(
      [&](Stream&, const GeluForward& op, int64_t n, int) {
        if (op.x.data() == op.out.data()) nudge(op, n);
      },
      "in the memory of its input: out element 0");
}

}  // namespace
}  // namespace msltx::ops::op_cases
