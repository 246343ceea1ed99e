// The fields of a GPTConfig, written once: JSON, Python, limits, messages and documentation are
// visits of this table. A new field is one member in config.h and one line here.
#pragma once

#include <concepts>
#include <string>
#include <string_view>
#include <type_traits>

#include "msltx/model/config.h"
#include "msltx/ops/softcap.h"

namespace msltx::model {

struct Field {
  std::string_view name;
  std::string_view meaning;
  std::string_view otherwise = {};    // what null or absence stands for, where that is not a value
  std::string_view other_names = {};  // in other projects, separated by spaces
  double least = 0, most = 0;         // numbers only
  bool required = false;
  bool or_zero = false;  // a number that may be 0, whatever `least` is
};

// Largest sizes taken. Products of any few of them stay far below 2^63, and each is beyond what any
// published model has; kMostParameters bounds the whole.
inline constexpr double kMostWidth = 1 << 20;
inline constexpr double kMostTokens = 1 << 24;
inline constexpr double kMostLayers = 1 << 14;
inline constexpr double kMostHeads = 1 << 14;
inline constexpr double kMostHeadDim = 1 << 16;
inline constexpr int64_t kMostParameters = int64_t{1} << 42;

// "from 1 to 16777216", "from 1e-06 to 10, or 0", as messages and documentation say it.
std::string limits(const Field& field);

template <class Visited, class Type>
concept VisitOf = std::same_as<std::remove_const_t<Visited>, Type>;

// visit(Field, value&) for every field, in the order of documentation.
template <VisitOf<GPTConfig> Config, class Visit>
void visit_fields(Config& c, Visit&& visit) {
  visit(Field{.name = "vocab_size",
              .meaning = "tokens in the vocabulary",
              .other_names = "n_vocab vocabulary_size num_tokens",
              .least = 1,
              .most = kMostTokens,
              .required = true},
        c.vocab_size);
  visit(
      Field{.name = "context_length",
            .meaning = "most tokens that attend to each other",
            .other_names = "max_sequence_length max_seq_length max_seq_len block_size n_positions "
                           "n_ctx max_position_embeddings max_length seq_len sequence_length "
                           "context_size max_context_length",
            .least = 1,
            .most = kMostTokens,
            .required = true},
      c.context_length);
  visit(Field{.name = "embedding_dim",
              .meaning = "width of the residual stream",
              .other_names =
                  "n_embd n_embed d_model hidden_size embed_dim emb_dim embedding_size dim "
                  "model_dim",
              .least = 1,
              .most = kMostWidth,
              .required = true},
        c.embedding_dim);
  visit(Field{.name = "num_layers",
              .meaning = "blocks",
              .other_names = "n_layer n_layers num_hidden_layers num_blocks depth",
              .least = 1,
              .most = kMostLayers,
              .required = true},
        c.num_layers);
  visit(Field{.name = "num_heads",
              .meaning = "query heads of a block",
              .other_names = "n_head n_heads num_attention_heads nhead heads",
              .least = 1,
              .most = kMostHeads,
              .required = true},
        c.num_heads);
  visit(Field{.name = "num_kv_heads",
              .meaning = "key and value heads; each serves num_heads / num_kv_heads query heads",
              .otherwise = "num_heads",
              .other_names = "n_kv_head n_kv_heads num_key_value_heads num_query_groups",
              .least = 1,
              .most = kMostHeads},
        c.num_kv_heads);
  visit(Field{.name = "head_dim",
              .meaning = "size of a head",
              .otherwise = "embedding_dim / num_heads",
              .other_names = "head_size d_head d_kv",
              .least = 1,
              .most = kMostHeadDim},
        c.head_dim);
  visit(Field{.name = "ff_dim",
              .meaning = "inner width of the feed-forward layer",
              .otherwise = "4 embedding_dim; gated activations 8/3 of it, rounded up to 64",
              .other_names = "ffn_hidden_dim ffn_dim ff_hidden_dim d_ff n_inner intermediate_size "
                             "dim_feedforward hidden_dim mlp_dim ffn_hidden_size",
              .least = 1,
              .most = 4 * kMostWidth},
        c.ff_dim);
  visit(Field{.name = "token_embedding_dim",
              .meaning = "width of the token table; a projection on each side where it differs",
              .otherwise = "embedding_dim",
              .other_names = "embedding_project_dim word_embed_proj_dim",
              .least = 1,
              .most = kMostWidth},
        c.token_embedding_dim);
  visit(Field{.name = "norm", .meaning = "normalization", .other_names = "norm_type normalization"},
        c.norm);
  visit(Field{.name = "norm_eps",
              .meaning = "added to the variance",
              .other_names = "layer_norm_eps layer_norm_epsilon layernorm_eps rms_norm_eps eps",
              .least = 1e-12,
              .most = 0.1},
        c.norm_eps);
  visit(Field{.name = "norm_placement",
              .meaning = "pre: x + f(Norm(x)), post: Norm(x + f(x)), sublayer: x + Norm(f(x)), "
                         "sandwich: x + Norm(f(Norm(x)))",
              .other_names = "norm_position"},
        c.norm_placement);
  visit(Field{.name = "positions",
              .meaning = "how a token's place enters",
              .other_names = "position positional_encoding position_encoding pos_encoding "
                             "position_embedding position_embedding_type"},
        c.positions);
  visit(Field{.name = "rope_theta",
              .meaning = "base of the rotary frequencies",
              .other_names = "rope_base rotary_base rope_freq_base",
              .least = 1,
              .most = 1e12},
        c.rope_theta);
  visit(Field{.name = "rope_scaling",
              .meaning = "stretches rope beyond the trained context",
              .otherwise = "none"},
        c.rope_scaling);
  visit(Field{.name = "activation",
              .meaning = "of the feed-forward layer; swiglu and geglu are gated",
              .other_names = "activation_function hidden_act hidden_activation"},
        c.activation);
  visit(
      Field{
          .name = "bias", .meaning = "which layers have a bias", .other_names = "use_bias biases"},
      c.bias);
  visit(Field{.name = "tie_weights",
              .meaning = "the output uses the token table",
              .other_names = "tie_word_embeddings tie_embeddings tied weight_tying"},
        c.tie_weights);
  visit(
      Field{.name = "dropout",
            .meaning = "share dropped at embedding, attention probabilities and residual branches",
            .other_names = "dropout_rate dropout_prob resid_pdrop attn_pdrop embd_pdrop",
            .least = 0,
            .most = 0.99},
      c.dropout);
  visit(Field{.name = "qk_norm",
              .meaning = "normalizes each query and key head",
              .other_names = "use_qk_norm"},
        c.qk_norm);
  visit(Field{.name = "sliding_window",
              .meaning = "tokens a query sees, itself included; a list repeats over the layers",
              .otherwise = "none",
              .other_names = "window window_size attention_window",
              .least = 1,
              .most = kMostTokens},
        c.sliding_window);
  visit(Field{.name = "attention_scale",
              .meaning = "factor of the attention scores",
              .otherwise = "1 / sqrt(head_dim)",
              .other_names = "attention_multiplier softmax_scale",
              .least = 1e-9,
              .most = 1e9},
        c.attention_scale);
  visit(Field{.name = "attention_softcap",
              .meaning = "cap c of the scores: c tanh(score / c)",
              .otherwise = "none",
              .other_names = "attn_logit_softcapping attn_softcap",
              .least = ops::kLeastSoftcap,
              .most = 1e9,
              .or_zero = true},
        c.attention_softcap);
  visit(Field{.name = "logit_softcap",
              .meaning = "cap c of the logits: c tanh(logit / c)",
              .otherwise = "none",
              .other_names = "final_logit_softcapping final_softcap",
              .least = ops::kLeastSoftcap,
              .most = 1e9,
              .or_zero = true},
        c.logit_softcap);
  visit(Field{.name = "embedding_scale",
              .meaning = "factor of the token embeddings",
              .other_names = "embedding_multiplier",
              .least = 1e-9,
              .most = 1e9},
        c.embedding_scale);
  visit(Field{.name = "norm_plus_one", .meaning = "norm weights w act as 1 + w (Gemma)"},
        c.norm_plus_one);
  visit(Field{.name = "initialization",
              .meaning = "distribution of the initial weights",
              .other_names = "init initializer init_method weight_init"},
        c.initialization);
  visit(Field{.name = "depth_scaling",
              .meaning = "how initial residual projections shrink with depth"},
        c.depth_scaling);
  visit(Field{.name = "attention",
              .meaning = "which attention runs: both give the same numbers up to rounding",
              .other_names = "attention_implementation attn_implementation"},
        c.attention);
}

template <VisitOf<BiasGroups> Groups, class Visit>
void visit_fields(Groups& b, Visit&& visit) {
  visit(Field{.name = "qkv", .meaning = "query, key and value", .otherwise = "true"}, b.qkv);
  visit(Field{.name = "attention_out", .meaning = "attention output", .otherwise = "true"},
        b.attention_out);
  visit(Field{.name = "feed_forward", .meaning = "both feed-forward layers", .otherwise = "true"},
        b.feed_forward);
  visit(Field{.name = "norm", .meaning = "normalizations", .otherwise = "true with layernorm"},
        b.norm);
  visit(Field{.name = "output", .meaning = "output projection", .otherwise = "not tie_weights"},
        b.output);
}

template <VisitOf<RopeScaling> Scaling, class Visit>
void visit_fields(Scaling& s, Visit&& visit) {
  constexpr double kMostFactor = 1e6;
  visit(
      Field{
          .name = "kind", .meaning = "the rule", .other_names = "type rope_type", .required = true},
      s.kind);
  visit(Field{.name = "factor",
              .meaning = "new context / original context",
              .least = 1,
              .most = kMostFactor},
        s.factor);
  visit(Field{.name = "original_context_length",
              .meaning = "the trained context",
              .otherwise = "context_length / factor",
              .other_names = "original_max_position_embeddings",
              .least = 1,
              .most = kMostTokens},
        s.original_context_length);
  visit(Field{.name = "low_frequency_factor",
              .meaning = "llama3: wavelengths above original / this are stretched",
              .other_names = "low_freq_factor",
              .least = 1e-3,
              .most = kMostFactor},
        s.low_frequency_factor);
  visit(Field{.name = "high_frequency_factor",
              .meaning = "llama3: wavelengths below original / this stay",
              .other_names = "high_freq_factor",
              .least = 1e-3,
              .most = kMostFactor},
        s.high_frequency_factor);
  visit(Field{.name = "beta_fast",
              .meaning = "yarn: rotations from which on a frequency stays",
              .least = 1e-3,
              .most = kMostFactor},
        s.beta_fast);
  visit(Field{.name = "beta_slow",
              .meaning = "yarn: rotations up to which a frequency is stretched",
              .least = 1e-3,
              .most = kMostFactor},
        s.beta_slow);
  visit(Field{.name = "attention_factor",
              .meaning = "yarn: factor of q and k",
              .otherwise = "0.1 ln(factor) + 1",
              .least = 1e-3,
              .most = kMostFactor},
        s.attention_factor);
}

}  // namespace msltx::model
