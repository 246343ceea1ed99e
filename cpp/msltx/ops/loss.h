// Cross entropy of next tokens, on logits and fused with the output projection. A target equal to
// ignore_index is not counted: it gives no loss and no gradient.
#pragma once

#include "msltx/ops/op.h"
#include "msltx/ops/softcap.h"

namespace msltx::ops {

struct SoftmaxCrossEntropyForward {
  static constexpr std::string_view name = "softmax_cross_entropy_forward";
  static constexpr std::string_view summary =
      "loss = sum over counted rows of (lse - logits[target]) / normalizer, lse = log sum "
      "exp(logits)";
  Tensor loss, lse, logits, targets;
  int64_t ignore_index = -1;
  float normalizer = 0;

  template <class V>
  static void visit(V& v) {
    v.writes("loss", &SoftmaxCrossEntropyForward::loss, "1", "0 where no row is counted").float32();
    v.writes("lse", &SoftmaxCrossEntropyForward::lse, "N", "kept for the backward")
        .float32()
        .optional();
    v.reads("logits", &SoftmaxCrossEntropyForward::logits, "N V").float32().masked();
    v.reads("targets", &SoftmaxCrossEntropyForward::targets, "N")
        .int32()
        .below("V")
        .or_value_of("ignore_index");
    v.attribute("ignore_index", &SoftmaxCrossEntropyForward::ignore_index,
                "target that is not counted");
    v.attribute("normalizer", &SoftmaxCrossEntropyForward::normalizer,
                "0: the number of counted rows")
        .at_least(0);
  }
  double flops() const { return 5.0 * static_cast<double>(logits.size()); }
};

struct SoftmaxCrossEntropyBackward {
  static constexpr std::string_view name = "softmax_cross_entropy_backward";
  static constexpr std::string_view summary =
      "d_logits = (exp(logits - lse) - onehot(target)) / normalizer; zero in rows not counted";
  Tensor d_logits, logits, targets, lse;
  int64_t ignore_index = -1;
  float normalizer = 0;

  template <class V>
  static void visit(V& v) {
    v.writes("d_logits", &SoftmaxCrossEntropyBackward::d_logits, "N V").float32().alias("logits");
    v.reads("logits", &SoftmaxCrossEntropyBackward::logits, "N V").float32().masked();
    v.reads("targets", &SoftmaxCrossEntropyBackward::targets, "N")
        .int32()
        .below("V")
        .or_value_of("ignore_index");
    v.reads("lse", &SoftmaxCrossEntropyBackward::lse, "N", "of the forward").float32();
    v.attribute("ignore_index", &SoftmaxCrossEntropyBackward::ignore_index,
                "target that is not counted");
    v.attribute("normalizer", &SoftmaxCrossEntropyBackward::normalizer,
                "0: the number of counted rows")
        .at_least(0);
  }
  double flops() const { return 4.0 * static_cast<double>(logits.size()); }
};

struct LinearCrossEntropyForward {
  static constexpr std::string_view name = "linear_cross_entropy_forward";
  static constexpr std::string_view summary =
      "loss = scale * sum over counted rows of the cross entropy of hidden weight^T + bias";
  Tensor loss, hidden, weight, targets, bias;
  int64_t ignore_index = -1;
  float scale = 1;
  float logit_softcap = 0;

  template <class V>
  static void visit(V& v) {
    v.writes("loss", &LinearCrossEntropyForward::loss, "1").float32();
    v.reads("hidden", &LinearCrossEntropyForward::hidden, "N C");
    v.reads("weight", &LinearCrossEntropyForward::weight, "V C").wide();
    v.reads("targets", &LinearCrossEntropyForward::targets, "N")
        .int32()
        .below("V")
        .or_value_of("ignore_index");
    v.reads("bias", &LinearCrossEntropyForward::bias, "V").float32().optional();
    v.attribute("ignore_index", &LinearCrossEntropyForward::ignore_index,
                "target that is not counted");
    v.attribute("scale", &LinearCrossEntropyForward::scale, "1 / counted rows gives the mean");
    v.attribute("logit_softcap", &LinearCrossEntropyForward::logit_softcap,
                "cap of cap tanh(logits / cap) in the place of logits; 0: none")
        .at_least(kLeastSoftcap)
        .or_zero();
  }
  double flops() const {
    return 2.0 * static_cast<double>(hidden.size()) * static_cast<double>(weight.dim(0));
  }
};

struct LinearCrossEntropyForwardBackward {
  static constexpr std::string_view name = "linear_cross_entropy_forward_backward";
  static constexpr std::string_view summary =
      "the loss of linear_cross_entropy_forward with all its gradients, in blocks of rows: logits "
      "of "
      "all rows never exist at once";
  Tensor loss, d_hidden, d_weight, d_bias, hidden, weight, targets, bias;
  int64_t ignore_index = -1;
  float scale = 1;
  bool accumulate = false;
  float logit_softcap = 0;

  template <class V>
  static void visit(V& v) {
    using Op = LinearCrossEntropyForwardBackward;
    v.writes("loss", &Op::loss, "1").float32();
    v.writes("d_hidden", &Op::d_hidden, "N C").wide();
    v.accumulates("d_weight", &Op::d_weight, "V C").float32();
    v.accumulates("d_bias", &Op::d_bias, "V").float32().when("bias");
    v.reads("hidden", &Op::hidden, "N C");
    v.reads("weight", &Op::weight, "V C").wide();
    v.reads("targets", &Op::targets, "N").int32().below("V").or_value_of("ignore_index");
    v.reads("bias", &Op::bias, "V").float32().optional();
    v.attribute("ignore_index", &Op::ignore_index, "target that is not counted");
    v.attribute("scale", &Op::scale, "1 / counted rows gives the mean");
    v.attribute("accumulate", &Op::accumulate,
                "add to d_weight and d_bias instead of writing them");
    v.attribute("logit_softcap", &Op::logit_softcap,
                "cap of cap tanh(logits / cap) in the place of logits; 0: none")
        .at_least(kLeastSoftcap)
        .or_zero();
  }
  double flops() const {
    return 6.0 * static_cast<double>(hidden.size()) * static_cast<double>(weight.dim(0));
  }
};

}  // namespace msltx::ops
