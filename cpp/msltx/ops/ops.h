// The C++ call of every op: ops::layernorm_forward(stream, {out, mean, rstd, x, gamma, beta}).
#pragma once

#include "msltx/ops/stream.h"

namespace msltx::ops {

template <class Op>
struct Call {
  void operator()(Stream& stream, const Op& op) const { stream.encode(op); }
};

inline constexpr Call<EmbeddingForward> embedding_forward;
inline constexpr Call<EmbeddingBackward> embedding_backward;
inline constexpr Call<PositionalEmbeddingAddForward> positional_embedding_add_forward;
inline constexpr Call<PositionalEmbeddingAddBackward> positional_embedding_add_backward;
inline constexpr Call<LayernormForward> layernorm_forward;
inline constexpr Call<LayernormBackwardData> layernorm_backward_data;
inline constexpr Call<LayernormBackwardWeights> layernorm_backward_weights;
inline constexpr Call<ResidualLayernormForward> residual_layernorm_forward;
inline constexpr Call<ResidualLayernormBackwardData> residual_layernorm_backward_data;
inline constexpr Call<RmsnormForward> rmsnorm_forward;
inline constexpr Call<RmsnormBackwardData> rmsnorm_backward_data;
inline constexpr Call<RmsnormBackwardWeights> rmsnorm_backward_weights;
inline constexpr Call<ResidualRmsnormForward> residual_rmsnorm_forward;
inline constexpr Call<ResidualRmsnormBackwardData> residual_rmsnorm_backward_data;
inline constexpr Call<LinearForward> linear_forward;
inline constexpr Call<LinearBackwardData> linear_backward_data;
inline constexpr Call<LinearBackwardWeights> linear_backward_weights;
inline constexpr Call<GeluForward> gelu_forward;
inline constexpr Call<GeluBackward> gelu_backward;
inline constexpr Call<SiluForward> silu_forward;
inline constexpr Call<SiluBackward> silu_backward;
inline constexpr Call<ReluForward> relu_forward;
inline constexpr Call<ReluBackward> relu_backward;
inline constexpr Call<SigmoidForward> sigmoid_forward;
inline constexpr Call<SigmoidBackward> sigmoid_backward;
inline constexpr Call<SwigluForward> swiglu_forward;
inline constexpr Call<SwigluBackward> swiglu_backward;
inline constexpr Call<GegluForward> geglu_forward;
inline constexpr Call<GegluBackward> geglu_backward;
inline constexpr Call<DropoutForward> dropout_forward;
inline constexpr Call<DropoutBackward> dropout_backward;
inline constexpr Call<ResidualAddForward> residual_add_forward;
inline constexpr Call<ResidualAddBackward> residual_add_backward;
inline constexpr Call<SoftmaxForward> softmax_forward;
inline constexpr Call<SoftmaxBackward> softmax_backward;
inline constexpr Call<SplitHeadsForward> split_heads_forward;
inline constexpr Call<SplitHeadsBackward> split_heads_backward;
inline constexpr Call<MergeHeadsForward> merge_heads_forward;
inline constexpr Call<MergeHeadsBackward> merge_heads_backward;
inline constexpr Call<RopeForward> rope_forward;
inline constexpr Call<RopeBackward> rope_backward;
inline constexpr Call<AttentionScoresForward> attention_scores_forward;
inline constexpr Call<AttentionScoresBackward> attention_scores_backward;
inline constexpr Call<AttentionScoresBackwardBias> attention_scores_backward_bias;
inline constexpr Call<AttentionMixForward> attention_mix_forward;
inline constexpr Call<AttentionMixBackward> attention_mix_backward;
inline constexpr Call<FlashAttentionForward> flash_attention_forward;
inline constexpr Call<FlashAttentionBackward> flash_attention_backward;
inline constexpr Call<FlashAttentionBackwardBias> flash_attention_backward_bias;
inline constexpr Call<RelativePositionBiasForward> relative_position_bias_forward;
inline constexpr Call<RelativePositionBiasBackward> relative_position_bias_backward;
inline constexpr Call<RelativeAttentionScoresForward> relative_attention_scores_forward;
inline constexpr Call<RelativeAttentionScoresBackwardData> relative_attention_scores_backward_data;
inline constexpr Call<RelativeAttentionScoresBackwardWeights>
    relative_attention_scores_backward_weights;
inline constexpr Call<SoftmaxCrossEntropyForward> softmax_cross_entropy_forward;
inline constexpr Call<SoftmaxCrossEntropyBackward> softmax_cross_entropy_backward;
inline constexpr Call<LinearCrossEntropyForward> linear_cross_entropy_forward;
inline constexpr Call<LinearCrossEntropyForwardBackward> linear_cross_entropy_forward_backward;
inline constexpr Call<Transpose> transpose;
inline constexpr Call<Cast> cast;
inline constexpr Call<Zero> zero;
inline constexpr Call<GlobalNorm> global_norm;
inline constexpr Call<Clip> clip;
inline constexpr Call<Adamw> adamw;
inline constexpr Call<Adam> adam;
inline constexpr Call<Sgd> sgd;
inline constexpr Call<SoftcapLogits> softcap_logits;
inline constexpr Call<SoftcapLogitsBackward> softcap_logits_backward;
inline constexpr Call<RepetitionPenalty> repetition_penalty;
inline constexpr Call<TemperatureScale> temperature_scale;
inline constexpr Call<TopkMask> topk_mask;
inline constexpr Call<ToppMask> topp_mask;
inline constexpr Call<ArgmaxSample> argmax_sample;
inline constexpr Call<CategoricalSample> categorical_sample;
inline constexpr Call<KvCacheAppend> kv_cache_append;
inline constexpr Call<KvCacheGather> kv_cache_gather;
inline constexpr Call<AttentionInference> attention_inference;

}  // namespace msltx::ops
