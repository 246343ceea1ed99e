#include "msltx/ops/stream.h"

#include <gtest/gtest.h>

#include <vector>

#include "msltx/base/error.h"
#include "msltx/ops/chunks.h"
#include "msltx/ops/ops.h"

namespace msltx::ops {
namespace {

Tensor view(std::vector<float>& data, std::initializer_list<int64_t> shape) {
  return Tensor::host(data.data(), DType::float32, shape);
}

struct Names : Interceptor {
  std::vector<std::string> seen;
  void before(const Encoding& e) override {
    seen.push_back(std::string(e.scope) + ":" + std::string(e.info.name));
  }
  bool wants_order() const override { return true; }
};

TEST(Stream, InterceptorsSeeScopeAndOpInOrder) {
  Executor executor(2);
  Scratch scratch(2);
  Names names;
  Stream stream(backend("reference"), executor, scratch, &names);
  std::vector<float> x(8, 1), out(8), gamma(4, 1);
  {
    Stream::Scope scope(stream, "blocks.0.norm1");
    layernorm_forward(stream,
                      {.out = view(out, {2, 4}), .x = view(x, {2, 4}), .gamma = view(gamma, {4})});
  }
  EXPECT_EQ(names.seen, (std::vector<std::string>{"blocks.0.norm1:layernorm_forward"}));
  EXPECT_EQ(stream.counts().encodes, 1);
}

TEST(Stream, EncodeSeesTheCancelFlag) {
  Executor executor(1);
  Scratch scratch(1);
  Stream stream(backend("reference"), executor, scratch);
  std::vector<float> x(4, 1), out(4), gamma(4, 1);
  EXPECT_THROW(executor.run([&] {
    executor.cancel();
    layernorm_forward(stream,
                      {.out = view(out, {1, 4}), .x = view(x, {1, 4}), .gamma = view(gamma, {4})});
  }),
               Cancelled);
  EXPECT_EQ(out[0], 0);
}

TEST(Stream, ReadsAndWritesStridedViews) {
  Executor executor(1);
  Scratch scratch(1);
  Stream stream(backend("reference"), executor, scratch);
  std::vector<float> data(24), part(12);
  for (size_t i = 0; i < 12; ++i) part[i] = static_cast<float>(i + 1);
  const Tensor middle = view(data, {2, 3, 4}).slice(2, 1, 2);
  stream.write(middle, part.data());
  EXPECT_EQ(data[1], 1);
  EXPECT_EQ(data[22], 12);
  EXPECT_EQ(data[0], 0);
  std::vector<float> back(12);
  stream.wait();
  stream.read(middle, back.data());
  EXPECT_EQ(back, part);
  EXPECT_EQ(stream.counts().waits, 1);
}

TEST(Chunks, CoverTheBatchOnceInBothModes) {
  const Chunking chunking = Chunking::of(5, 64, 128);
  EXPECT_EQ(chunking.chunks(), 3);
  EXPECT_EQ(chunking.chunk_rows(), 128);
  EXPECT_EQ(chunking.chunk(2).rows, 64);
  Executor executor(2);
  Scratch scratch(2);
  for (auto mode : {SectionMode::by_chunk, SectionMode::whole_batch, SectionMode::automatic}) {
    Stream stream(backend("reference"), executor, scratch);
    std::vector<std::atomic<int>> seen(320);
    for_each_chunk(stream, chunking, mode, [&](Stream&, const Rows& r) {
      for (int64_t n = 0; n < r.rows; ++n) ++seen[static_cast<size_t>(r.first_row + n)];
    });
    for (auto& count : seen) EXPECT_EQ(count.load(), 1);
  }
}

TEST(Backend, UnknownNamesAreRefused) {
  EXPECT_EQ(backend("reference").name(), "reference");
  EXPECT_THROW(backend("abacus"), ValueError);
}

TEST(Backend, TheReferenceHasEveryOpInFloat32) {
  for (const OpInfo& info : all_ops()) {
    EXPECT_TRUE(backend("reference").supports(info, DType::float32)) << info.name;
    EXPECT_FALSE(backend("reference").supports(info, DType::int32)) << info.name;
  }
}

}  // namespace
}  // namespace msltx::ops
