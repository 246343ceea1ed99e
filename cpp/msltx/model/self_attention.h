// The attention layer of a block: out(core(qkv(x))), over a batch or against a key/value cache.
// Between qkv and the core each query and key head may be normalized, and rotated by its position.
#pragma once

#include <cstdint>
#include <string>

#include "msltx/model/attention_core.h"
#include "msltx/model/linear_layer.h"
#include "msltx/model/tensor_plan.h"

namespace msltx::model {

struct AttentionActivations {
  Tensor qkv;  // (N, (nh + 2 nkv) hs); q and k rotated in place without qk_norm
  Tensor qk;   // (N, (nh + nkv) hs): q and k normalized and rotated, with qk_norm
  Tensor mix;  // (N, nh hs)
  CoreActivations core;
  Tensor d_qkv_bias, d_out_bias;  // partial sums (P, ...)
  Tensor d_q_norm, d_k_norm;      // partial sums (P, heads hs), of each head

  void declare(TensorPlan& plan, const GPTConfig& config, const std::string& name, Life life);
  AttentionActivations rows(const ops::Rows& r) const;
};

struct AttentionGradients {
  Tensor d_mix;  // (N, nh hs); the same memory as the gradient of x where that agrees
  Tensor d_qkv;  // (N, (nh + 2 nkv) hs)
  CoreGradients core;

  void declare(TensorPlan& plan, const GPTConfig& config, Life life);
  AttentionGradients rows(const ops::Rows& r) const {
    return {cut(d_mix, r), cut(d_qkv, r), core.rows(r)};
  }
};

class SelfAttention {
 public:
  SelfAttention(const GPTConfig& config, Parameters& parameters, const std::string& name,
                int64_t layer, const PositionTables& tables);

  // Whole sequences; with a cache the new tokens of as many.
  void forward(ops::Stream& stream, const AttentionActivations& a, const Tensor& out,
               const Tensor& x, const BatchPart& part, const LayerCache* cache) const;
  void backward_data(ops::Stream& stream, const AttentionActivations& a,
                     const AttentionGradients& g, const Tensor& d_x, const Tensor& d_out,
                     const BatchPart& part, int64_t chunk_rows) const;
  void backward_weights(ops::Stream& stream, const AttentionActivations& a,
                        const AttentionGradients& g, const Tensor& x, const Tensor& d_out,
                        const BatchPart& part, bool accumulate) const;
  // As AttentionCore's.
  void encode_distances(ops::Stream& stream, const Tensor& out) const {
    ops::Stream::Scope scope(stream, distances_name_);
    core_.encode_distances(stream, out);
  }

 private:
  // Heads as views (B, nh, T, hs) of rows (B T, width).
  Tensor heads(const Tensor& rows, int64_t sequences, int64_t first, int64_t count) const;
  // Of qkv, or with q and k from `qk` where that is defined.
  Heads views(const Tensor& qkv, const Tensor& qk, int64_t sequences) const;
  // Columns of one head.
  Tensor head(const Tensor& rows, int64_t index) const {
    return rows.slice(1, index * head_dim_, head_dim_);
  }
  bool is_query(int64_t head) const { return head < num_heads_; }
  void normalize(ops::Stream& stream, const AttentionActivations& a) const;
  void normalize_backward(ops::Stream& stream, const AttentionActivations& a, const Tensor& d_qkv,
                          int64_t chunk_rows) const;
  void normalize_weights(ops::Stream& stream, const Parameter& norm, const Tensor& partials,
                         bool accumulate) const;

  std::string name_, distances_name_;  // the scopes of its ops
  int64_t num_heads_, num_kv_heads_, head_dim_;
  float norm_eps_;
  bool plus_one_;
  LinearLayer qkv_, out_;
  Parameter *q_norm_, *k_norm_;
  Tensor rope_;
  AttentionCore core_;
};

}  // namespace msltx::model
