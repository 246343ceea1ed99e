// Diagnostic mode sees what is wrong with an op or its numbers, and says where.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "msltx/base/arena.h"
#include "msltx/base/error.h"
#include "msltx/ops/diagnostic.h"
#include "msltx/ops/ops.h"

namespace msltx::ops {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// What replaces gelu: writes out = x, then does something besides.
std::function<void(const GeluForward&)> besides;

void faulty_gelu(Stream&, const GeluForward& op) {
  for (int64_t n = 0; n < op.x.dim(0); ++n) {
    for (int64_t c = 0; c < op.x.dim(1); ++c) {
      op.out.data()[n * op.out.stride(0) + c] = op.x.data()[n * op.x.stride(0) + c];
    }
  }
  besides(op);
}

class FaultyBackend : public Backend {
 public:
  FaultyBackend() : Backend("faulty", "wrong on purpose") { add<faulty_gelu>(); }
};

class DiagnosticMode : public testing::Test {
 protected:
  DiagnosticMode() {
    diagnostic_.set_step(7);
    arena_ = Arena(4096);
    x_ = arena_.allocate(DType::float32, {3, 4});
    out_ = arena_.allocate(DType::float32, {3, 4});
    behind_ = arena_.allocate(DType::float32, {8});
    for (int64_t i = 0; i < x_.size(); ++i) x_.data()[i] = static_cast<float>(i);
  }

  // What is said about an op; "" where nothing is.
  template <class Op>
  std::string said(const Op& op, const Backend& backend = ops::backend("reference")) {
    Stream stream(backend, executor_, scratch_, &diagnostic_);
    const Stream::Scope scope(stream, "blocks.2.ff");
    try {
      executor_.run([&] { stream.encode(op); });
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  std::string said_besides(const Tensor& out, std::function<void(const GeluForward&)> what) {
    besides = std::move(what);
    const FaultyBackend backend;
    return said(GeluForward{.out = out, .x = x_}, backend);
  }

  Executor executor_{2};
  Scratch scratch_{2};
  Diagnostic diagnostic_{[this](const void* address) {
    const bool is_x = address >= x_.data<char>() && address < x_.data<char>() + x_.bytes();
    return std::string(is_x ? "some weight" : "");
  }};
  Arena arena_;
  Tensor x_, out_, behind_;
};

TEST_F(DiagnosticMode, SaysNothingOfWhatIsRight) {
  EXPECT_EQ(said(GeluForward{.out = out_, .x = x_}), "");
  EXPECT_EQ(said(GeluForward{.out = x_, .x = x_}), "");  // in place
  EXPECT_EQ(said_besides(out_, [](const GeluForward&) {}), "");
}

TEST_F(DiagnosticMode, NamesWhatAnOpIsGiven) {
  x_.data()[6] = std::nanf("");
  EXPECT_EQ(said(GeluForward{.out = out_, .x = x_}),
            "step 7, blocks.2.ff: gelu_forward is given nan in x (some weight) at [1, 2] of "
            "float32 (3, 4)");
  x_.data()[6] = -kInf;
  EXPECT_NE(said(GeluForward{.out = out_, .x = x_}).find("is given -inf in x"), std::string::npos);
}

TEST_F(DiagnosticMode, NamesWhatAnOpComputes) {
  EXPECT_EQ(said_besides(out_, [](const GeluForward& op) { op.out.data()[11] = kInf; }),
            "step 7, blocks.2.ff: gelu_forward computes, or leaves unwritten, inf in out at "
            "[2, 3] of float32 (3, 4)");
}

TEST_F(DiagnosticMode, SeesWhatIsNotWritten) {
  Tensor rows = x_;
  rows.shape[0] = 2;
  const auto leave_out = [](const GeluForward& op) {
    op.out.data()[8] = std::numeric_limits<float>::quiet_NaN();  // as it was found
  };
  EXPECT_NE(said_besides(out_, leave_out).find("leaves unwritten, nan in out at [2, 0]"),
            std::string::npos);
}

TEST_F(DiagnosticMode, SeesWritesBesideAnOutput) {
  const std::string wrote =
      "step 7, blocks.2.ff: gelu_forward wrote outside of out, within 64 "
      "bytes of its elements";
  EXPECT_EQ(said_besides(out_, [](const GeluForward& op) { op.out.data()[12] = 1; }), wrote);
  EXPECT_EQ(said_besides(out_, [](const GeluForward& op) { op.out.data()[-1] = 1; }), wrote);
  // Between rows that lie apart.
  Tensor apart = arena_.allocate(DType::float32, {3, 7}).slice(1, 0, 4);
  EXPECT_EQ(said_besides(apart, [](const GeluForward&) {}), "");
  EXPECT_EQ(said_besides(apart, [](const GeluForward& op) { op.out.data()[7 + 5] = 1; }), wrote);
}

TEST_F(DiagnosticMode, RefusesWhatTheOpDoesNotTake) {
  const Tensor narrow = out_.slice(1, 0, 3);
  EXPECT_EQ(said(GeluForward{.out = narrow, .x = x_}),
            "step 7, blocks.2.ff: gelu_forward: out has shape (3, 3); expected (N C) with C = 4");
  const Tensor shifted = arena_.allocate(DType::float32, {4, 4});
  EXPECT_EQ(said(GeluForward{.out = shifted.rows(0, 3), .x = shifted.rows(1, 3)}),
            "step 7, blocks.2.ff: gelu_forward: out overlaps x, which it may not");
  std::vector<int32_t> tokens{0, 3};
  const Tensor ids = Tensor::host(tokens.data(), DType::int32, {2});
  EXPECT_EQ(said(EmbeddingForward{.out = out_.rows(0, 2), .tokens = ids, .weight = x_}),
            "step 7, blocks.2.ff: embedding_forward: tokens has 3 at 1; it must be at least 0 and "
            "below V = 3");
}

TEST_F(DiagnosticMode, LetsMaskedScoresBe) {
  x_.data()[1] = -kInf;
  EXPECT_EQ(said(SoftmaxForward{.out = out_, .x = x_}), "");
  x_.data()[1] = kInf;
  EXPECT_NE(said(SoftmaxForward{.out = out_, .x = x_}), "");
}

TEST_F(DiagnosticMode, KnowsOnlySomeBytes) {
  // An allocation of its own: what lies behind it belongs to somebody else.
  Arena own(48);
  const Tensor all = own.allocate(DType::float32, {3, 4});
  EXPECT_EQ(said(GeluForward{.out = all, .x = x_}), "");
}

}  // namespace
}  // namespace msltx::ops
