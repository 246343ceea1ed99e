#include "msltx/model/refusals.h"

#include "msltx/base/error.h"

namespace msltx::model {
namespace {

std::string if_so(bool wrong, auto&&... sentence) {
  return wrong ? concat(sentence...) : std::string();
}

bool is_relative_xl(const GPTConfig& c) { return c.positions.has(Position::relative_xl); }

// Of relative_xl beside another kind of position.
std::string beside(const GPTConfig& c, Position other) {
  return if_so(is_relative_xl(c) && c.positions.has(other), "positions contains relative_xl and ",
               word_of(other), "; relative_xl goes with learned and sinusoidal only");
}

constexpr Refusal kRefusals[] = {
    {"`num_heads` not a multiple of `num_kv_heads`",
     "each key/value head serves as many query heads",
     [](const GPTConfig& c) {
       return if_so(c.num_heads % c.num_kv_heads != 0, "num_kv_heads is ", c.num_kv_heads,
                    "; it must divide num_heads, ", c.num_heads);
     }},
    {"`positions: rope` and an odd `head_dim`", "a head is rotated in pairs",
     [](const GPTConfig& c) {
       return if_so(c.positions.has(Position::rope) && c.head_dim % 2 != 0, "head_dim is ",
                    c.head_dim, "; positions rope takes an even one");
     }},
    {"`norm: rmsnorm` and `bias.norm: true`",
     "the root mean square is normalized about zero; there is no offset to learn",
     [](const GPTConfig& c) {
       return if_so(c.norm == Norm::rmsnorm && c.bias.norm,
                    "bias.norm is true; norm rmsnorm has no bias");
     }},
    {"`norm: layernorm` and `norm_plus_one`",
     "weights as 1 + w are Gemma's rmsnorm; no model has them elsewhere",
     [](const GPTConfig& c) {
       return if_so(c.norm_plus_one && c.norm != Norm::rmsnorm,
                    "norm_plus_one is true; it takes norm rmsnorm");
     }},
    {"`positions: relative_xl` and `positions: rope`",
     "a rotated query would score a distance by its own place, too",
     [](const GPTConfig& c) { return beside(c, Position::rope); }},
    {"`positions: relative_xl` and `positions: relative_t5`",
     "two learned scores of one distance; no model has both",
     [](const GPTConfig& c) { return beside(c, Position::relative_t5); }},
    {"`positions: relative_xl` and `positions: alibi`",
     "a learned and a fixed score of one distance; no model has both",
     [](const GPTConfig& c) { return beside(c, Position::alibi); }},
    {"`positions: relative_xl` and `attention: flash`",
     "its scores need the distances of each query, which only plain attention makes",
     [](const GPTConfig& c) {
       return if_so(is_relative_xl(c) && c.attention == Attention::flash,
                    "attention is flash; positions relative_xl takes auto or plain");
     }},
    {"`positions: relative_xl` and `attention_softcap`",
     "its kernel adds the two parts of a score and caps none; no model does",
     [](const GPTConfig& c) {
       return if_so(is_relative_xl(c) && c.attention_softcap > 0, "attention_softcap is ",
                    c.attention_softcap, "; positions relative_xl takes none");
     }},
};

}  // namespace

std::span<const Refusal> refusals() { return kRefusals; }

void check_refusals(const GPTConfig& config) {
  for (const Refusal& refusal : kRefusals) {
    const std::string problem = refusal.problem(config);
    if (!problem.empty()) throw ValueError(problem);
  }
}

}  // namespace msltx::model
