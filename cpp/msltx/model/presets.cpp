// Named configurations. The three smallest and gpt2 are GPT-2 in everything; the others are Llama
// in everything but size, with mlx adding learned positions and dropout.
#include <nlohmann/json.hpp>

#include "msltx/base/error.h"
#include "msltx/model/config.h"

namespace msltx::model {
namespace {

using nlohmann::json;

struct Preset {
  std::string_view name;
  int64_t embedding_dim, num_layers, num_heads;
  int64_t ff_dim;  // 0: what follows from embedding_dim
  int64_t vocab_size, context_length;
  bool llama;
};

constexpr Preset kPresets[] = {
    {"1m", 128, 4, 4, 0, 1776, 64, false},
    {"4m", 256, 4, 8, 0, 1776, 128, false},
    {"11m", 384, 6, 6, 0, 1776, 256, false},
    {"gpt2", 768, 12, 12, 0, 50257, 1024, false},
    {"25m", 384, 8, 6, 1024, 32000, 2048, true},
    {"125m", 768, 12, 12, 2560, 32000, 2048, true},
    {"350m", 1024, 24, 16, 2816, 32000, 2048, true},
    {"760m", 1536, 24, 16, 4352, 32000, 2048, true},
    {"mlx", 768, 16, 12, 3072, 32000, 2048, true},
};

json fields_of(const Preset& p) {
  json fields = {{"embedding_dim", p.embedding_dim},
                 {"num_layers", p.num_layers},
                 {"num_heads", p.num_heads},
                 {"vocab_size", p.vocab_size},
                 {"context_length", p.context_length}};
  if (p.ff_dim > 0) fields["ff_dim"] = p.ff_dim;
  if (!p.llama) return fields;  // what is left out is GPT-2
  fields.update(
      {{"norm", "rmsnorm"}, {"activation", "swiglu"}, {"positions", "rope"}, {"bias", false}});
  if (p.name == "mlx") fields.update({{"positions", {"learned", "rope"}}, {"dropout", 0.1}});
  return fields;
}

}  // namespace

GPTConfig preset(std::string_view name, const json& changes) {
  std::string known;
  for (const Preset& p : kPresets) {
    if (p.name == name) {
      json fields = fields_of(p);
      fields.update(changes);
      return config_from_json(fields);
    }
    known += concat(known.empty() ? "" : ", ", p.name);
  }
  throw ValueError(concat("preset is ", name, "; there are ", known));
}

GPTConfig preset(std::string_view name) { return preset(name, json::object()); }

std::vector<std::string_view> preset_names() {
  std::vector<std::string_view> names;
  for (const Preset& p : kPresets) names.push_back(p.name);
  return names;
}

}  // namespace msltx::model
