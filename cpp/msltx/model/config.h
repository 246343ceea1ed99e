// GPTConfig: the one model family, as a set of choices. GPT-2, Llama, Mistral, Qwen and Gemma are
// settings of it. Here are the choices, what follows from them, and what is refused; the table of
// fields (limits, meanings, other names) is config_fields.h.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace msltx::model {

// Each choice has its words in the order of its enumerators: words(Norm{})[1] == "rmsnorm".
enum class Norm : uint8_t { layernorm, rmsnorm };
enum class NormPlacement : uint8_t { pre, post, sublayer, sandwich };
enum class Position : uint8_t { learned, sinusoidal, rope, relative_t5, relative_xl, alibi };
enum class Activation : uint8_t { gelu_tanh, gelu, relu, silu, swiglu, geglu };
enum class Initialization : uint8_t { gpt2, xavier, kaiming };
enum class DepthScaling : uint8_t { total, layer, none };
enum class Attention : uint8_t { automatic, plain, flash };
enum class RopeScalingKind : uint8_t { none, linear, dynamic, yarn, llama3 };

template <class... Words>
constexpr std::array<std::string_view, sizeof...(Words)> word_list(Words... words) {
  return {std::string_view(words)...};
}
constexpr auto words(Norm) { return word_list("layernorm", "rmsnorm"); }
constexpr auto words(NormPlacement) { return word_list("pre", "post", "sublayer", "sandwich"); }
constexpr auto words(Position) {
  return word_list("learned", "sinusoidal", "rope", "relative_t5", "relative_xl", "alibi");
}
constexpr auto words(Activation) {
  return word_list("gelu_tanh", "gelu", "relu", "silu", "swiglu", "geglu");
}
constexpr auto words(Initialization) { return word_list("gpt2", "xavier", "kaiming"); }
constexpr auto words(DepthScaling) { return word_list("total", "layer", "none"); }
constexpr auto words(Attention) { return word_list("auto", "plain", "flash"); }
constexpr auto words(RopeScalingKind) {
  return word_list("none", "linear", "dynamic", "yarn", "llama3");
}
template <class Choice>
constexpr std::string_view word_of(Choice choice) {
  return words(choice)[static_cast<size_t>(choice)];
}

// How a token's place enters: any set of ways, or none of them.
class PositionSet {
 public:
  constexpr PositionSet() = default;
  constexpr PositionSet(std::initializer_list<Position> positions) {
    for (Position p : positions) insert(p);
  }
  constexpr void insert(Position p) { bits_ |= bit(p); }
  constexpr bool has(Position p) const { return (bits_ & bit(p)) != 0; }
  constexpr bool empty() const { return bits_ == 0; }
  bool operator==(const PositionSet&) const = default;

 private:
  static constexpr unsigned bit(Position p) { return 1u << static_cast<unsigned>(p); }
  unsigned bits_ = 0;
};

// Yes, no, or not said: complete() turns the last into one of the others. Not said reads as no.
class Switch {
 public:
  constexpr Switch() = default;
  constexpr Switch(bool on) : state_(on ? State::on : State::off) {}
  constexpr bool said() const { return state_ != State::unsaid; }
  constexpr operator bool() const { return state_ == State::on; }
  constexpr bool operator==(const Switch& other) const { return state_ == other.state_; }

 private:
  enum class State : uint8_t { unsaid, off, on };
  State state_ = State::unsaid;
};

struct BiasGroups {
  Switch qkv, attention_out, feed_forward;  // not said: yes
  Switch norm;                              // not said: yes for layernorm; rmsnorm has none
  Switch output;                            // not said: yes where the output has its own weight

  static BiasGroups none() { return {false, false, false, false, false}; }
  bool operator==(const BiasGroups&) const = default;
};

// Longer contexts for rope than a model was trained on. Fields that a kind does not use are
// ignored.
struct RopeScaling {
  RopeScalingKind kind = RopeScalingKind::none;
  double factor = 1;
  int64_t original_context_length = 0;  // 0: context_length / factor
  double low_frequency_factor = 1;      // llama3
  double high_frequency_factor = 4;     // llama3
  double beta_fast = 32;                // yarn
  double beta_slow = 1;                 // yarn
  double attention_factor = 0;          // yarn; 0: 0.1 ln(factor) + 1
  bool operator==(const RopeScaling&) const = default;
};

// Fields with 0, {} or "not said" take what follows from the others in complete(); a GPTConfig that
// came out of complete(), config_from_json() or preset() has every field set and is valid.
struct GPTConfig {
  int64_t vocab_size = 0;           // required
  int64_t context_length = 0;       // required
  int64_t embedding_dim = 0;        // required
  int64_t num_layers = 0;           // required
  int64_t num_heads = 0;            // required
  int64_t num_kv_heads = 0;         // num_heads
  int64_t head_dim = 0;             // embedding_dim / num_heads
  int64_t ff_dim = 0;               // 4 embedding_dim; gated: 8/3 of it, rounded up to 64
  int64_t token_embedding_dim = 0;  // embedding_dim
  Norm norm = Norm::layernorm;
  double norm_eps = 1e-5;
  NormPlacement norm_placement = NormPlacement::pre;
  PositionSet positions{Position::learned};
  double rope_theta = 10000;
  RopeScaling rope_scaling{};
  Activation activation = Activation::gelu_tanh;
  BiasGroups bias{};
  bool tie_weights = true;
  double dropout = 0;
  bool qk_norm = false;
  std::vector<int64_t>
      sliding_window{};          // {}: none; layer i has entry i mod size, 0 sees everything
  double attention_scale = 0;    // 1 / sqrt(head_dim)
  double attention_softcap = 0;  // 0: none
  double logit_softcap = 0;      // 0: none
  double embedding_scale = 1;
  bool norm_plus_one = false;
  Initialization initialization = Initialization::gpt2;
  DepthScaling depth_scaling = DepthScaling::total;
  Attention attention = Attention::automatic;

  bool operator==(const GPTConfig&) const = default;

  bool gated() const { return activation == Activation::swiglu || activation == Activation::geglu; }
  // With post, the last block's own norm is the last thing; every other placement ends with one
  // more.
  bool has_final_norm() const { return norm_placement != NormPlacement::post; }
  int64_t qkv_dim() const { return (num_heads + 2 * num_kv_heads) * head_dim; }  // rows of attn.qkv
  int64_t attention_dim() const { return num_heads * head_dim; }  // columns of attn.out
};

// Fills what was left open and throws ValueError (field, value and limit in one sentence) where the
// result is impossible.
GPTConfig complete(GPTConfig config);

// JSON object with every field of a complete configuration, and back (absent fields take their
// defaults, null stands for "not said", unknown names are refused with the name to use). Neither
// knows the `format` and `version` of config.json: exchange/model_folder.h adds them.
nlohmann::json config_to_json(const GPTConfig& config);
GPTConfig config_from_json(const nlohmann::json& fields);

// The fields without which config_from_json would not give this configuration back: no defaults,
// and nothing that follows from the others.
nlohmann::json essential_fields(const GPTConfig& config);

// "num_layers is 4 there and 2 here", for every field that differs; empty where none does.
std::string differences(const GPTConfig& there, const GPTConfig& here);

// The configuration with these fields changed. What followed from others follows from the new ones:
// doubling embedding_dim doubles a ff_dim that was at its default.
GPTConfig with_changes(const GPTConfig& config, const nlohmann::json& changes);

// A preset, with the fields of `changes` in place of its own.
GPTConfig preset(std::string_view name, const nlohmann::json& changes);
GPTConfig preset(std::string_view name);
std::vector<std::string_view> preset_names();

// The name used here for a field called `name` here or in another project (n_embd: embedding_dim);
// empty when no field is known under it.
std::string_view field_called(std::string_view name);

// One line of the field table, in words: for documentation and help.
struct FieldDescription {
  std::string name, takes, otherwise, meaning;  // otherwise: the default, or "required"
};
std::vector<FieldDescription> describe_fields();

}  // namespace msltx::model
