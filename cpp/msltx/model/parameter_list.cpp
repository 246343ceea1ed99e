#include "msltx/model/parameter_list.h"

#include <initializer_list>
#include <iterator>
#include <utility>

#include "msltx/base/error.h"

namespace msltx::model {
namespace {

// T5's rule has this many distance buckets (Raffel et al. 2020); the family has no field for it.
constexpr int64_t kRelativeBuckets = 32;

using Kind = ParameterKind;

class List {
 public:
  List(std::string prefix, int64_t layer) : prefix_(std::move(prefix)), layer_(layer) {}

  void add(const char* name, std::initializer_list<int64_t> shape, Kind kind) {
    specs.push_back({prefix_ + name, shape, kind, layer_});
  }
  void linear(const std::string& name, int64_t out, int64_t in, bool bias, Kind kind) {
    add((name + ".weight").c_str(), {out, in}, kind);
    if (bias) add((name + ".bias").c_str(), {out}, Kind::bias);
  }
  void norm(const std::string& name, const GPTConfig& c) {
    add((name + ".weight").c_str(), {c.embedding_dim}, Kind::norm_weight);
    if (c.bias.norm) add((name + ".bias").c_str(), {c.embedding_dim}, Kind::bias);
  }

  std::vector<ParameterSpec> specs;

 private:
  std::string prefix_;
  int64_t layer_;
};

std::vector<ParameterSpec> embedding_parameters(const GPTConfig& c) {
  List list("embed.", -1);
  list.add("tokens.weight", {c.vocab_size, c.token_embedding_dim}, Kind::token_embedding);
  if (c.positions.has(Position::learned)) {
    list.add("positions.weight", {c.context_length, c.embedding_dim}, Kind::position_embedding);
  }
  if (c.positions.has(Position::relative_t5)) {
    list.add("relative.weight", {kRelativeBuckets, c.num_heads}, Kind::position_embedding);
  }
  if (c.token_embedding_dim != c.embedding_dim) {
    list.add("project.weight", {c.embedding_dim, c.token_embedding_dim}, Kind::matrix);
  }
  return list.specs;
}

std::vector<ParameterSpec> block_parameters(const GPTConfig& c, int64_t layer) {
  const bool sandwich = c.norm_placement == NormPlacement::sandwich;
  List list(concat("blocks.", layer, "."), layer);
  list.norm("norm1", c);
  list.linear("attn.qkv", c.qkv_dim(), c.embedding_dim, c.bias.qkv, Kind::matrix);
  if (c.qk_norm) {
    list.add("attn.q_norm.weight", {c.head_dim}, Kind::norm_weight);
    list.add("attn.k_norm.weight", {c.head_dim}, Kind::norm_weight);
  }
  if (c.positions.has(Position::relative_xl)) {
    list.add("attn.relative.weight", {c.attention_dim(), c.embedding_dim}, Kind::matrix);
    list.add("attn.relative.content_bias", {c.num_heads, c.head_dim}, Kind::bias);
    list.add("attn.relative.position_bias", {c.num_heads, c.head_dim}, Kind::bias);
  }
  list.linear("attn.out", c.embedding_dim, c.attention_dim(), c.bias.attention_out,
              Kind::residual_matrix);
  if (sandwich) list.norm("norm1_post", c);
  list.norm("norm2", c);
  list.linear("ff.in", c.gated() ? 2 * c.ff_dim : c.ff_dim, c.embedding_dim, c.bias.feed_forward,
              Kind::matrix);
  list.linear("ff.out", c.embedding_dim, c.ff_dim, c.bias.feed_forward, Kind::residual_matrix);
  if (sandwich) list.norm("norm2_post", c);
  return list.specs;
}

std::vector<ParameterSpec> head_parameters(const GPTConfig& c) {
  List list("", -1);
  if (c.has_final_norm()) list.norm("norm", c);
  if (c.token_embedding_dim != c.embedding_dim) {
    list.add("head.project.weight", {c.token_embedding_dim, c.embedding_dim}, Kind::matrix);
  }
  if (!c.tie_weights) list.add("head.weight", {c.vocab_size, c.token_embedding_dim}, Kind::matrix);
  if (c.bias.output) list.add("head.bias", {c.vocab_size}, Kind::bias);
  return list.specs;
}

int64_t total(const std::vector<ParameterSpec>& specs) {
  int64_t n = 0;
  for (const auto& spec : specs) n += spec.size();
  return n;
}

}  // namespace

int64_t ParameterSpec::size() const {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

std::vector<ParameterSpec> parameter_list(const GPTConfig& config) {
  std::vector<ParameterSpec> specs = embedding_parameters(config);
  const auto append = [&](std::vector<ParameterSpec> more) {
    specs.insert(specs.end(), std::move_iterator(more.begin()), std::move_iterator(more.end()));
  };
  for (int64_t i = 0; i < config.num_layers; ++i) append(block_parameters(config, i));
  append(head_parameters(config));
  return specs;
}

int64_t parameter_count(const GPTConfig& config) {
  return total(embedding_parameters(config)) +
         config.num_layers * total(block_parameters(config, 0)) + total(head_parameters(config));
}

}  // namespace msltx::model
