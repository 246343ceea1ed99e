// All ops, in one list: an op's index in it is its place in every backend's table.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>

#include "msltx/ops/activation.h"
#include "msltx/ops/attention.h"
#include "msltx/ops/cache.h"
#include "msltx/ops/cast.h"
#include "msltx/ops/dropout.h"
#include "msltx/ops/elementwise.h"
#include "msltx/ops/embedding.h"
#include "msltx/ops/layout.h"
#include "msltx/ops/linear.h"
#include "msltx/ops/logits.h"
#include "msltx/ops/loss.h"
#include "msltx/ops/norm.h"
#include "msltx/ops/optimizer.h"
#include "msltx/ops/relative.h"
#include "msltx/ops/rmsnorm.h"
#include "msltx/ops/rope.h"
#include "msltx/ops/sampling.h"

namespace msltx::ops {

using AllOps = std::tuple<
    EmbeddingForward, EmbeddingBackward, PositionalEmbeddingAddForward,
    PositionalEmbeddingAddBackward, LayernormForward, LayernormBackwardData,
    LayernormBackwardWeights, ResidualLayernormForward, ResidualLayernormBackwardData,
    RmsnormForward, RmsnormBackwardData, RmsnormBackwardWeights, ResidualRmsnormForward,
    ResidualRmsnormBackwardData, LinearForward, LinearBackwardData, LinearBackwardWeights,
    GeluForward, GeluBackward, SiluForward, SiluBackward, ReluForward, ReluBackward, SigmoidForward,
    SigmoidBackward, SwigluForward, SwigluBackward, GegluForward, GegluBackward, DropoutForward,
    DropoutBackward, ResidualAddForward, ResidualAddBackward, SoftmaxForward, SoftmaxBackward,
    SplitHeadsForward, SplitHeadsBackward, MergeHeadsForward, MergeHeadsBackward, RopeForward,
    RopeBackward, AttentionScoresForward, AttentionScoresBackward, AttentionScoresBackwardBias,
    AttentionMixForward, AttentionMixBackward, FlashAttentionForward, FlashAttentionBackward,
    FlashAttentionBackwardBias, RelativePositionBiasForward, RelativePositionBiasBackward,
    RelativeAttentionScoresForward, RelativeAttentionScoresBackwardData,
    RelativeAttentionScoresBackwardWeights, SoftmaxCrossEntropyForward, SoftmaxCrossEntropyBackward,
    LinearCrossEntropyForward, LinearCrossEntropyForwardBackward, Transpose, Cast, Zero, GlobalNorm,
    Clip, Adamw, Adam, Sgd, SoftcapLogits, SoftcapLogitsBackward, RepetitionPenalty,
    TemperatureScale, TopkMask, ToppMask, ArgmaxSample, CategoricalSample, KvCacheAppend,
    KvCacheGather, AttentionInference>;

inline constexpr size_t kOpCount = std::tuple_size_v<AllOps>;

namespace internal {
template <class Op, size_t... I>
constexpr size_t index_of(std::index_sequence<I...>) {
  return ((std::is_same_v<Op, std::tuple_element_t<I, AllOps>> ? I : 0) + ...);
}
}  // namespace internal

template <class Op>
inline constexpr size_t kIndexOf = internal::index_of<Op>(std::make_index_sequence<kOpCount>{});

std::span<const OpInfo> all_ops();
inline const OpInfo& op_info(size_t index) { return all_ops()[index]; }
// nullptr where no op has the name.
const OpInfo* find_op(std::string_view name);

}  // namespace msltx::ops
