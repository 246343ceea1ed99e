#include "msltx/ops/op.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>
#include <string>
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
  EXPECT_EQ(c.error(), "layernorm_forward: gamma has shape (3,); expected (C) with C = 4");
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

template <class Op>
std::string refusal(const Op& op) {
  try {
    check(op_info(kIndexOf<Op>), &op);
    check_indices(op_info(kIndexOf<Op>), &op);
  } catch (const ValueError& e) {
    return e.what();
  }
  return "";
}

TEST(Check, InterleavedViewsDoNotOverlap) {
  // d_q, d_k, d_v as columns of one fused array: (B, T, 3, nh, hs) with T = 5, nh = 2, hs = 4.
  std::vector<float> fused(2 * 5 * 24), other(2 * 2 * 5 * 4), lse(20);
  const auto part = [&](std::vector<float>& data, int64_t column) {
    Tensor t = Tensor::host(data.data() + column, DType::float32, {2, 2, 5, 4});
    t.strides = {5 * 24, 4, 24, 1};
    return t;
  };
  const Tensor whole = Tensor::host(other.data(), DType::float32, {2, 2, 5, 4});
  FlashAttentionBackward op{.d_q = part(fused, 0),
                            .d_k = part(fused, 8),
                            .d_v = part(fused, 16),
                            .d_out = whole,
                            .forward_out = whole,
                            .lse = Tensor::host(lse.data(), DType::float32, {2, 2, 5}),
                            .q = whole,
                            .k = whole,
                            .v = whole};
  EXPECT_EQ(refusal(op), "");
  op.d_k = part(fused, 7);  // shares a column with d_q
  EXPECT_EQ(refusal(op), "flash_attention_backward: d_q overlaps d_k, which it may not");
  op.d_k = part(fused, 4);  // its first head is d_q's second
  EXPECT_EQ(refusal(op), "flash_attention_backward: d_q overlaps d_k, which it may not");
}

TEST(Check, RowsOneFurtherOverlap) {
  std::vector<float> data(16);
  GeluForward op{.out = Tensor::host(data.data(), DType::float32, {3, 4}),
                 .x = Tensor::host(data.data() + 4, DType::float32, {3, 4})};
  EXPECT_EQ(refusal(op), "gelu_forward: out overlaps x, which it may not");
}

TEST(Check, NumbersOfHeadsMustDivide) {
  std::vector<float> q(24), k(16), out(24);
  FlashAttentionForward op{.out = Tensor::host(out.data(), DType::float32, {1, 3, 2, 4}),
                           .q = Tensor::host(q.data(), DType::float32, {1, 3, 2, 4}),
                           .k = Tensor::host(k.data(), DType::float32, {1, 2, 2, 4}),
                           .v = Tensor::host(k.data(), DType::float32, {1, 2, 2, 4})};
  EXPECT_EQ(refusal(op), "flash_attention_forward: nh is 3; it must be a multiple of nkv = 2");
}

TEST(Check, WhatAnAttributeNeedsMustBeThere) {
  std::vector<float> d(8), weight(12), d_x(6);
  LinearBackwardData op{.d_x = Tensor::host(d_x.data(), DType::float32, {2, 3}),
                        .d_out = Tensor::host(d.data(), DType::float32, {2, 4}),
                        .weight = Tensor::host(weight.data(), DType::float32, {4, 3})};
  EXPECT_EQ(refusal(op), "");
  op.activation = Activation::gelu;
  EXPECT_EQ(refusal(op), "linear_backward_data: pre is missing; it is needed with activation");
}

TEST(Check, AttributesHaveRanges) {
  std::vector<float> logits(4), out(4);
  ToppMask op{.out = Tensor::host(out.data(), DType::float32, {1, 4}),
              .logits = Tensor::host(logits.data(), DType::float32, {1, 4})};
  EXPECT_EQ(refusal(op), "");
  for (float p : {0.0f, 1.5f, -1.0f}) {
    op.p = p;
    EXPECT_EQ(refusal(op), concat("topp_mask: p is ", p, "; it must be in (0, 1]"));
  }
  op.p = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(refusal(op), "topp_mask: p is nan; it must be finite");
}

TEST(Check, IndicesStayWithinTheirLimit) {
  std::vector<float> logits(6), loss(1);
  std::vector<int32_t> targets{0, -1, 2};
  SoftmaxCrossEntropyForward op{.loss = Tensor::host(loss.data(), DType::float32, {1}),
                                .logits = Tensor::host(logits.data(), DType::float32, {3, 2}),
                                .targets = Tensor::host(targets.data(), DType::int32, {3})};
  EXPECT_EQ(refusal(op),
            "softmax_cross_entropy_forward: targets has 2 at 2; it must be at least 0 and below V "
            "= 2, or ignore_index = -1");
  targets[2] = 1;
  EXPECT_EQ(refusal(op), "");
  op.ignore_index = 7;
  EXPECT_EQ(refusal(op),
            "softmax_cross_entropy_forward: targets has -1 at 1; it must be at least 0 and below V "
            "= 2, or ignore_index = 7");
}

TEST(Check, SizesOfAProductFollowFromTheInput) {
  std::vector<float> x(24), out(24);
  MergeHeadsForward op{.out = Tensor::host(out.data(), DType::float32, {1, 3, 8}),
                       .x = Tensor::host(x.data(), DType::float32, {1, 2, 3, 4})};
  EXPECT_EQ(refusal(op), "");
  op.out = Tensor::host(out.data(), DType::float32, {1, 4, 6});
  EXPECT_EQ(refusal(op),
            "merge_heads_forward: out has shape (1, 4, 6); expected (B T nh*hs) with T = 3");
}

}  // namespace
}  // namespace msltx::ops
