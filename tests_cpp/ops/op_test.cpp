#include "msltx/ops/op.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "msltx/base/error.h"
#include "msltx/ops/op_list.h"

namespace msltx::ops {
namespace {

TEST(OpInfo, EveryOpDescribesItself) {
  std::set<std::string_view> names;
  for (const OpInfo& info : all_ops()) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_FALSE(info.summary.empty()) << info.name;
    bool writes = false;
    std::set<size_t> offsets;
    for (const FieldInfo& field : info.fields) {
      writes |= field.is_output();
      EXPECT_TRUE(offsets.insert(field.offset).second) << info.name << " " << field.name;
      EXPECT_LE(field.offset + sizeof(Tensor), info.size);
      // Outputs stand before inputs, so that a call reads the same in every language.
      if (!field.is_output()) writes = true;
    }
    EXPECT_TRUE(writes) << info.name;
    EXPECT_EQ(find_op(info.name), &info);
  }
  EXPECT_EQ(find_op("no_such_op"), nullptr);
}

struct LayernormCase {
  std::vector<float> x = std::vector<float>(12), out = x, gamma = std::vector<float>(4);
  LayernormForward op;
  LayernormCase() {
    op.x = Tensor::host(x.data(), DType::float32, {3, 4});
    op.out = Tensor::host(out.data(), DType::float32, {3, 4});
    op.gamma = Tensor::host(gamma.data(), DType::float32, {4});
  }
  std::string error() const {
    try {
      check(*find_op("layernorm_forward"), &op);
    } catch (const ValueError& e) {
      return e.what();
    }
    return "";
  }
};

TEST(Check, AcceptsWhatFitsAndAllowedAliases) {
  LayernormCase c;
  EXPECT_EQ(c.error(), "");
  c.op.out = c.op.x;
  EXPECT_EQ(c.error(), "");
}

TEST(Check, NamesOpFieldExpectedAndFound) {
  LayernormCase c;
  c.op.gamma = Tensor::host(c.gamma.data(), DType::float32, {3});
  EXPECT_EQ(c.error(),
            "layernorm_forward: gamma has shape (3,); expected (C) with dimension 0 = 4");
  c = {};
  c.op.x = {};
  EXPECT_EQ(c.error(), "layernorm_forward: x is missing");
  c = {};
  c.op.gamma.dtype = DType::int32;
  EXPECT_EQ(c.error(), "layernorm_forward: gamma is int32; expected float32");
  c = {};
  c.op.out = Tensor::host(c.x.data() + 4, DType::float32, {2, 4});
  c.op.x = Tensor::host(c.x.data(), DType::float32, {2, 4});
  EXPECT_EQ(c.error(), "layernorm_forward: out overlaps x, which it may not");
}

}  // namespace
}  // namespace msltx::ops
