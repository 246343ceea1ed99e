// What follows from the fields of a configuration, and which values are refused.
#include "msltx/model/config.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "msltx/base/error.h"
#include "msltx/model/config_fields.h"
#include "msltx/model/refusals.h"

namespace msltx::model {
namespace {

// As a person writes it: 16777216, not 1.67772e+07.
std::string number(double value) {
  if (std::floor(value) == value && std::abs(value) < 1e15) {
    return std::to_string(static_cast<int64_t>(value));
  }
  return concat(value);
}

// Every number lies within its field's limits; 0 passes where it means "not said".
class RangeCheck {
 public:
  explicit RangeCheck(std::string prefix = "") : prefix_(std::move(prefix)) {}

  void operator()(const Field& field, const int64_t& value) const { integer(field, value); }
  void operator()(const Field& field, const double& value) const {
    if (value == 0 && !field.otherwise.empty()) return;
    if (value >= field.least && value <= field.most) return;
    refuse(field, number(value), "a number");
  }
  void operator()(const Field& field, const std::vector<int64_t>& values) const {
    for (int64_t value : values) integer(field, value);
  }
  void operator()(const Field& field, const RopeScaling& scaling) const {
    if (scaling.kind != RopeScalingKind::none) {
      visit_fields(scaling, RangeCheck(concat(field.name, ".")));
    }
  }
  template <class Choice>
  void operator()(const Field&, const Choice&) const {}

 private:
  void integer(const Field& field, int64_t value) const {
    if (value == 0 && !field.otherwise.empty()) return;
    const auto v = static_cast<double>(value);
    if (v >= field.least && v <= field.most) return;
    refuse(field, std::to_string(value), "an integer");
  }
  [[noreturn]] void refuse(const Field& field, const std::string& value, const char* what) const {
    throw ValueError(
        concat(prefix_, field.name, " is ", value, "; it takes ", what, " ", limits(field)));
  }
  std::string prefix_;
};

int64_t default_ff_dim(const GPTConfig& c) {
  constexpr int64_t kGatedMultiple =
      64;  // keeps the inner width a whole number of vectors and tiles
  if (!c.gated()) return 4 * c.embedding_dim;
  const int64_t two_thirds = (8 * c.embedding_dim + 2) / 3;  // of 4 C, rounded up
  return (two_thirds + kGatedMultiple - 1) / kGatedMultiple * kGatedMultiple;
}

void fill(Switch& value, bool otherwise) {
  if (!value.said()) value = otherwise;
}

void fill_open_fields(GPTConfig& c) {
  if (c.num_kv_heads == 0) c.num_kv_heads = c.num_heads;
  if (c.head_dim == 0) {
    if (c.embedding_dim % c.num_heads != 0) {
      throw ValueError(concat("num_heads is ", c.num_heads, "; it must divide embedding_dim, ",
                              c.embedding_dim, ", unless head_dim is given"));
    }
    c.head_dim = c.embedding_dim / c.num_heads;
  }
  if (c.ff_dim == 0) c.ff_dim = default_ff_dim(c);
  if (c.token_embedding_dim == 0) c.token_embedding_dim = c.embedding_dim;
  if (c.attention_scale == 0) c.attention_scale = 1 / std::sqrt(static_cast<double>(c.head_dim));
  if (c.rope_scaling.kind != RopeScalingKind::none) {
    RopeScaling& s = c.rope_scaling;
    if (s.original_context_length == 0) {
      s.original_context_length =
          std::max<int64_t>(1, std::llround(static_cast<double>(c.context_length) / s.factor));
    }
    if (s.attention_factor == 0) s.attention_factor = 0.1 * std::log(s.factor) + 1;
  }
  fill(c.bias.qkv, true);
  fill(c.bias.attention_out, true);
  fill(c.bias.feed_forward, true);
  fill(c.bias.norm, c.norm == Norm::layernorm);
  fill(c.bias.output, !c.tie_weights);
}

void check_size(const GPTConfig& c) {
  const auto count = [](int64_t a, int64_t b) {
    return static_cast<double>(a) * static_cast<double>(b);
  };
  const double block = count(c.qkv_dim() + c.attention_dim(), c.embedding_dim) +
                       count(c.gated() ? 3 * c.ff_dim : 2 * c.ff_dim, c.embedding_dim);
  const double whole =
      static_cast<double>(c.num_layers) * block +
      count(c.tie_weights ? c.vocab_size : 2 * c.vocab_size, c.token_embedding_dim);
  if (whole > static_cast<double>(kMostParameters)) {
    throw ValueError(concat("the model has ", whole, " parameters with num_layers ", c.num_layers,
                            ", embedding_dim ", c.embedding_dim, " and ff_dim ", c.ff_dim,
                            "; the limit is ", kMostParameters));
  }
}

}  // namespace

std::string limits(const Field& field) {
  return concat("from ", number(field.least), " to ", number(field.most),
                field.or_zero ? ", or 0" : "");
}

GPTConfig complete(GPTConfig config) {
  const auto check_ranges = [&] { visit_fields(std::as_const(config), RangeCheck()); };
  check_ranges();
  fill_open_fields(config);
  check_ranges();
  check_refusals(config);
  check_size(config);
  return config;
}

}  // namespace msltx::model
