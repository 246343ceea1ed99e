#include "ops/op_cases/problem.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "msltx/base/error.h"
#include "msltx/base/philox.h"
#include "msltx/ops/op_list.h"
#include "ops/op_cases/call.h"

namespace msltx::ops::op_cases {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The numbers of one field of one case.
class Random {
 public:
  explicit Random(uint64_t seed) : seed_(seed) {}
  uint32_t word() { return philox(seed_, RandomStream::initialization, 0, 0, index_++)[0]; }
  double uniform() { return uniform_double(word(), word()); }
  int32_t integer(int64_t low, int64_t high) {  // in [low, high]
    return static_cast<int32_t>(low + static_cast<int64_t>(word() % uint64_t(high - low + 1)));
  }
  float normal() {
    const Philox4 words = philox(seed_, RandomStream::initialization, 1, 0, index_++);
    return normal_pair(words[0], words[1])[0];
  }

 private:
  uint64_t seed_;
  uint32_t index_ = 0;
};

// Documents begin at about one token in nine, at the places of their queries; place(0) < 0 where
// there are fewer keys than queries.
void start_documents(const Problem& p, Values& starts, Random& random) {
  const int64_t T = p.size("T"), S = p.size("S");
  int32_t start = 0;
  for (int64_t i = 0; i < starts.count(); ++i) {
    const int64_t place = i % T + S - T;
    if (i % T == 0) start = 0;
    if (place > 0 && random.uniform() < 0.11) start = static_cast<int32_t>(place);
    starts.set(i, start);
  }
}

int32_t random_integer(const Problem& p, std::string_view field, Random& random) {
  if (field == "tokens" && p.info->name == "repetition_penalty") {
    return random.integer(-1, p.size("V") - 1);
  }
  if (field == "tokens") {
    return p.c.inputs == "one token" ? static_cast<int32_t>(p.size("V") / 2)
                                     : random.integer(0, p.size("V") - 1);
  }
  if (field == "targets") {
    const bool ignored = p.c.inputs == "all ignored" || random.uniform() < 0.2;
    return ignored ? static_cast<int32_t>(p.attribute("ignore_index"))
                   : random.integer(0, p.size("V") - 1);
  }
  if (field == "offsets") return random.integer(0, p.size("S") - p.size("T"));
  // One place too late for some, so that the end of the cache is met.
  if (field == "positions")
    return random.integer(0, std::max<int64_t>(1, p.size("S") - p.size("T") + 1));
  if (field == "rows") return random.integer(0, p.size("B") - 1);
  if (field == "lengths") {
    if (p.c.inputs == "short") return random.integer(0, std::min(p.size("T"), p.size("S")));
    return random.integer(std::min(p.size("T"), p.size("S")), p.size("S"));
  }
  if (field == "sequences") return random.integer(0, 1 << 30);
  throw ValueError(concat("no rule makes values for ", p.info->name, ".", field));
}

float random_float(const Problem& p, std::string_view field, float row_shift, Random& random) {
  const std::string_view op = p.info->name, inputs = p.c.inputs;
  const float x = random.normal();
  if (inputs == "huge" && (field == "x" || field == "gate" || field == "logits")) {
    return std::array{x, 3 * x, 30 * x, 1e4f * x, 1e30f * x}[random.word() % 5];
  }
  if (op == "softcap_logits_backward" && field == "forward_out") {
    return static_cast<float>(p.attribute("cap")) * std::tanh(x);
  }
  if (field == "v" && op == "adam") return x * x;
  if (field == "logits" || (field == "x" && op.starts_with("softmax"))) {
    if (inputs == "masked" && random.uniform() < 0.3) return -kInfinity;
    return inputs == "ties" ? std::round(x) : 3 * x;
  }
  if (inputs == "zeros" && field == "x") return 0;
  if (field == "x" && op.starts_with("gelu")) return 3 * x;
  if (field == "gate" || (field == "x" && op.find("silu") == 0) ||
      (field == "x" && op.find("sigmoid") == 0)) {
    return 3 * x;
  }
  if (field == "pre") return 2 * x;
  if ((field == "x" || field == "sum") && op.find("layernorm") != op.npos) {
    return 2 * x + row_shift * (inputs == "far mean" ? 100.0f : 1.0f);
  }
  if (field == "gamma") return 1 + 0.3f * x;
  if (field == "weight") return x / std::sqrt(static_cast<float>(p.size("C")));
  if ((field == "q" || field == "k") && inputs == "large scores") return 4 * x;
  if (field == "bias" && inputs == "hidden by bias" && random.uniform() < 0.4) return -kInfinity;
  if (field == "alibi_slopes") return std::abs(x) / 128;  // no underflow at 2,049
  if (field == "v" && op == "adamw") return x * x;
  if (field == "norm") return inputs == "infinite norm" ? kInfinity : 1 + std::abs(x);
  if (field == "loss" && inputs == "loss not a number")
    return std::numeric_limits<float>::quiet_NaN();
  if (field == "grad_scale") return 0.5f;
  if (field == "skip") return inputs == "skip" ? 1.0f : 0.0f;
  return x;
}

// What a forward of the reference makes of the same inputs; some go by another name there.
void derive(Problem& p, std::string_view forward, std::vector<std::string_view> wanted,
            std::string_view name = {}, std::string_view name_in_forward = {}) {
  const OpInfo& info = *find_op(forward);
  Case c = p.c;
  c.strided = false;
  c.bfloat16 = false;
  c.omit.clear();
  std::erase_if(c.attributes, [&](auto& a) { return !info.find_attribute(a.first); });
  for (const FieldInfo& field : info.fields) {
    const bool is_given = p.info->find_field(field.name) && p.has(field.name);
    if (field.is_optional && !field.is_output() && !is_given) c.omit.push_back(field.name);
  }
  Problem from(info, c);
  for (const FieldInfo& field : info.fields) {
    if (field.is_output()) continue;
    const std::string_view ours = field.name == name_in_forward ? name : field.name;
    for (const FieldInfo& own : p.info->fields) {
      if (own.name == ours) from[field.name] = p[ours];
    }
  }
  const std::vector<Values> outputs = run_reference(from);
  for (std::string_view field : wanted) {
    p[field == "out" ? "forward_out" : field] = outputs[from.index(field)];
  }
}

void softmax_rows(Values& values) {
  for (int64_t first = 0; first < values.count(); first += values.row_length()) {
    double sum = 0;
    for (int64_t i = 0; i < values.row_length(); ++i) sum += std::exp(values.f(first + i));
    for (int64_t i = 0; i < values.row_length(); ++i) {
      values.set(first + i, static_cast<float>(std::exp(values.f(first + i)) / sum));
    }
  }
}

// What bfloat16 holds.
void round_inputs(Problem& p) {
  for (size_t i = 0; i < p.fields.size(); ++i) {
    const FieldInfo& field = p.info->fields[i];
    if (p.c.omits(field.name) || p.type(field) != DType::bfloat16) continue;
    Values& values = p.fields[i];
    for (int64_t k = 0; k < values.count(); ++k) {
      values.set(k, static_cast<float>(bfloat16(values.f(k))));
    }
  }
}

}  // namespace

Problem::Problem(const OpInfo& op, const Case& which)
    : info(&op), c(which), fields(op.fields.size()) {
  AxisSizes sizes;
  for (const auto& [letter, size] : c.sizes) sizes.set(letter, size);
  if (info->find_attribute("partial_rows")) {
    sizes.settle_partials(static_cast<int64_t>(attribute("partial_rows")));
  }
  for (size_t index = 0; index < fields.size(); ++index) {
    const FieldInfo& field = info->fields[index];
    if (c.omits(field.name)) continue;
    Values& values = fields[index];
    values.shape = sizes.shape_of(*info, field);
    int64_t count = 1;
    for (int64_t size : values.shape) count *= size;
    values.words.resize(static_cast<size_t>(count));
    if (!is_given(*this, field)) continue;
    Random random(hash_name(concat(info->name, " ", field.name, " ", c.describe())));
    if (field.name == "document_starts") {
      start_documents(*this, values, random);
      continue;
    }
    float row_shift = 0;
    for (int64_t i = 0; i < count; ++i) {
      if (i % values.row_length() == 0) row_shift = random.normal();
      if (field.element == Element::int32) {
        values.set(i, random_integer(*this, field.name, random));
      } else {
        values.set(i, random_float(*this, field.name, row_shift, random));
      }
    }
    if (c.inputs == "masked" &&
        field.element != Element::int32) {  // one row without anything to attend to
      for (int64_t i = 0; i < values.row_length(); ++i) values.set(i, -kInfinity);
    }
    if (field.name == "probabilities") softmax_rows(values);
  }
  round_inputs(*this);
  if (op.name.starts_with("flash_attention_backward")) {
    derive(*this, "flash_attention_forward", {"out", "lse"});
  }
  if (op.name == "softmax_backward") derive(*this, "softmax_forward", {"out"});
  if (op.name == "softmax_cross_entropy_backward") {
    derive(*this, "softmax_cross_entropy_forward", {"lse"});
  }
  if (op.name == "layernorm_backward_data" && has("mean")) {
    derive(*this, "layernorm_forward", {"mean", "rstd"});
  }
  if (op.name == "residual_layernorm_backward_data" && has("mean")) {
    derive(*this, "layernorm_forward", {"mean", "rstd"}, "sum", "x");
  }
  if (op.name == "rmsnorm_backward_data" && has("rstd")) derive(*this, "rmsnorm_forward", {"rstd"});
  if (op.name == "residual_rmsnorm_backward_data" && has("rstd")) {
    derive(*this, "rmsnorm_forward", {"rstd"}, "sum", "x");
  }
  round_inputs(*this);
}

Problem Problem::in_float32() const {
  Problem same = *this;
  same.c.bfloat16 = false;
  return same;
}

double Problem::attribute(std::string_view name) const {
  for (const auto& [given, value] : c.attributes) {
    if (given == name) return value;
  }
  return info->find_attribute(name)->default_value;
}

size_t Problem::index(std::string_view field) const {
  for (size_t i = 0; i < info->fields.size(); ++i) {
    if (info->fields[i].name == field) return i;
  }
  throw ValueError(concat(info->name, " has no field ", field));
}

bool is_given(const Problem& problem, const FieldInfo& field) {
  if (problem.c.omits(field.name)) return false;
  if (field.role == Role::accumulates) return problem.attribute("accumulate") != 0;
  return field.role != Role::writes;
}

}  // namespace msltx::ops::op_cases
