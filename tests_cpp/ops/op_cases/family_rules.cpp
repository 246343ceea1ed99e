#include "ops/op_cases/rules.h"

#include <algorithm>
#include <cmath>

namespace msltx::ops::op_cases {
namespace {

double size_of(const Values& values, int64_t i) { return std::abs(double{values.f(i)}); }

// All that is added up is positive but for what the weight is to one: 1 + |gamma| for 1 + gamma.
double weight_size(const Problem& p, int64_t c) {
  return size_of(p["gamma"], c) + (p.attribute("plus_one") != 0 ? 1 : 0);
}

double rstd_of(const Values& x, int64_t n, double eps) {
  const int64_t C = x.row_length();
  double squares = 0;
  for (int64_t c = 0; c < C; ++c) squares += std::pow(double{x.f(n * C + c)}, 2);
  return 1 / std::sqrt(squares / static_cast<double>(C) + eps);
}

void rmsnorm_forward(const Problem& p, const Outputs& out) {
  const bool residual = p.info->name == "residual_rmsnorm_forward";
  const Values& x = residual ? out["sum"].value : p["x"];
  const int64_t N = p.size("N"), C = p.size("C");
  for (int64_t n = 0; n < N; ++n) {
    const double rstd = rstd_of(x, n, p.attribute("eps"));
    out.add("rstd", n, rstd);
    for (int64_t c = 0; c < C; ++c) {
      const int64_t i = n * C + c;
      out.add("out", i, size_of(x, i) * rstd * weight_size(p, c));
      if (residual) out.add("sum", i, size_of(p["x"], i) + size_of(p["residual"], i));
    }
  }
}

void rmsnorm_backward_data(const Problem& p, const Outputs& out) {
  const bool residual = p.info->name == "residual_rmsnorm_backward_data";
  const Values &x = residual ? p["sum"] : p["x"], &d_out = p["d_out"];
  const int64_t N = p.size("N"), C = p.size("C");
  const auto block = static_cast<int64_t>(p.attribute("partial_rows"));
  for (int64_t n = 0; n < N; ++n) {
    const double rstd = rstd_of(x, n, p.attribute("eps"));
    double mean = 0;
    for (int64_t c = 0; c < C; ++c) {
      const int64_t i = n * C + c;
      mean += size_of(d_out, i) * weight_size(p, c) * size_of(x, i) * rstd / static_cast<double>(C);
    }
    for (int64_t c = 0; c < C; ++c) {
      const int64_t i = n * C + c, p_row = block > 0 ? n / block : 0;
      const double x_hat = size_of(x, i) * rstd;
      out.add("d_x", i, rstd * (size_of(d_out, i) * weight_size(p, c) + x_hat * mean));
      if (residual && p.has("d_sum")) out.add("d_x", i, size_of(p["d_sum"], i));
      out.add("d_gamma_partials", p_row * C + c, size_of(d_out, i) * x_hat);
    }
  }
}

// An exponential of the input itself has all digits, so sigmoid and SiLU have too; GELU's argument
// is rounded before. Of a slope its two terms count.
double gate_size(const Problem& p, double x) {
  if (p.info->name.starts_with("geglu")) return std::abs(x);
  return std::abs(x) / (1 + std::exp(-x));
}

double slope_size(const Problem& p, double x) {
  if (p.info->name.starts_with("geglu")) return 1 + std::abs(x);
  const double s = 1 / (1 + std::exp(-x)), rest = 1 / (1 + std::exp(x));
  if (p.info->name.starts_with("sigmoid")) return s * rest;
  return rest > 0 ? s * (1 + std::abs(x) * rest) : s;
}

void activation_forward(const Problem& p, const Outputs& out) {
  for (int64_t i = 0; i < p["x"].count(); ++i) out.add("out", i, size_of(out["out"].value, i));
}

void activation_backward(const Problem& p, const Outputs& out) {
  for (int64_t i = 0; i < p["x"].count(); ++i) {
    out.add("d_x", i, size_of(p["d_out"], i) * slope_size(p, p["x"].f(i)));
  }
}

void gated_forward(const Problem& p, const Outputs& out) {
  for (int64_t i = 0; i < p["gate"].count(); ++i) {
    out.add("out", i, gate_size(p, p["gate"].f(i)) * size_of(p["up"], i));
  }
}

void gated_backward(const Problem& p, const Outputs& out) {
  for (int64_t i = 0; i < p["gate"].count(); ++i) {
    const double d = size_of(p["d_out"], i), gate = p["gate"].f(i);
    out.add("d_gate", i, d * size_of(p["up"], i) * slope_size(p, gate));
    out.add("d_up", i, d * gate_size(p, gate));
  }
}

// |a cos| + |b sin|: the two of a pair are as large as its length, at most.
void rope(const Problem& p, const Outputs& out) {
  const bool forward = p.info->name == "rope_forward";
  const Values &x = p[forward ? "x" : "d_out"], &table = p["table"];
  const bool split = p.attribute("layout") != 0;
  const int64_t hs = p.size("hs"), T = p.size("T"), per_sequence = p.size("nh") * T;
  for (int64_t n = 0; n < x.count() / hs; ++n) {
    const int64_t offset = p.has("offsets") ? p["offsets"].i(n / per_sequence)
                                            : static_cast<int64_t>(p.attribute("offset"));
    for (int64_t i = 0; i < hs / 2; ++i) {
      const int64_t angle = (offset + n % T) * hs + 2 * i;
      const int64_t a = n * hs + (split ? i : 2 * i), b = a + (split ? hs / 2 : 1);
      const double cos = size_of(table, angle), sin = size_of(table, angle + 1);
      const std::string_view field = forward ? "out" : "d_x";
      out.add(field, a, size_of(x, a) * cos + size_of(x, b) * sin);
      out.add(field, b, size_of(x, a) * sin + size_of(x, b) * cos);
    }
  }
}

void softcap(const Problem& p, const Outputs& out) {
  for (int64_t i = 0; i < p["logits"].count(); ++i) {
    out.add("out", i, size_of(out["out"].value, i));
  }
}

void softcap_backward(const Problem& p, const Outputs& out) {
  const double cap = static_cast<float>(p.attribute("cap"));
  for (int64_t i = 0; i < p["d_out"].count(); ++i) {
    const double tanh = p["forward_out"].f(i) / cap;
    out.add("d_logits", i, size_of(p["d_out"], i) * (1 + tanh * tanh));
  }
}

double scale_of(const Problem& p) { return p.has("grad_scale") ? p["grad_scale"].f(0) : 1.0f; }

bool skips(const Problem& p) { return p.has("skip") && p["skip"].f(0) != 0; }

double gradient_size(const Problem& p, int64_t i) {
  return size_of(p["grad"], i) * scale_of(p) + p.attribute("weight_decay") * size_of(p["param"], i);
}

// Where the gradient is a small difference, so is its digits' worth in the second moment.
void adam(const Problem& p, const Outputs& out) {
  if (skips(p)) return expect_equal(p, out);
  const double beta1 = p.attribute("beta1"), beta2 = p.attribute("beta2");
  for (int64_t i = 0; i < p["param"].count(); ++i) {
    const double g = gradient_size(p, i);
    const double m = beta1 * size_of(p["m"], i) + (1 - beta1) * g;
    const double v = beta2 * size_of(p["v"], i) + (1 - beta2) * g * g;
    const double new_v = std::max(size_of(out["v"].value, i), 1e-300);
    const double root = std::sqrt(new_v / (1 - std::pow(beta2, p.attribute("step"))));
    const double rate = p.attribute("lr") / (1 - std::pow(beta1, p.attribute("step"))) /
                        (root + p.attribute("eps"));
    out.add("m", i, m);
    out.add("v", i, v);
    out.add("param", i,
            size_of(p["param"], i) + rate * (m + size_of(out["m"].value, i) * v / new_v));
  }
}

void sgd(const Problem& p, const Outputs& out) {
  if (skips(p)) return expect_equal(p, out);
  const double momentum = p.attribute("momentum");
  for (int64_t i = 0; i < p["param"].count(); ++i) {
    const double g = gradient_size(p, i);
    const double m = g + (p.has("m") ? momentum * size_of(p["m"], i) : 0);
    out.add("m", i, m);
    const double change = p.attribute("nesterov") != 0 ? g + momentum * m : m;
    out.add("param", i, size_of(p["param"], i) + p.attribute("lr") * change);
  }
}

}  // namespace

const std::map<std::string_view, Rule>& family_rules() {
  static const std::map<std::string_view, Rule> rules = {
      {"rmsnorm_forward", rmsnorm_forward},
      {"rmsnorm_backward_data", rmsnorm_backward_data},
      {"rmsnorm_backward_weights", polynomial},
      {"residual_rmsnorm_forward", rmsnorm_forward},
      {"residual_rmsnorm_backward_data", rmsnorm_backward_data},
      {"silu_forward", activation_forward},
      {"silu_backward", activation_backward},
      {"relu_forward", expect_equal},
      {"relu_backward", expect_equal},
      {"sigmoid_forward", activation_forward},
      {"sigmoid_backward", activation_backward},
      {"swiglu_forward", gated_forward},
      {"swiglu_backward", gated_backward},
      {"geglu_forward", gated_forward},
      {"geglu_backward", gated_backward},
      {"rope_forward", rope},
      {"rope_backward", rope},
      {"dropout_forward", expect_equal},
      {"dropout_backward", expect_equal},
      {"softcap_logits", softcap},
      {"softcap_logits_backward", softcap_backward},
      {"repetition_penalty", expect_equal},
      {"transpose", expect_equal},
      {"cast", expect_equal},
      {"adam", adam},
      {"sgd", sgd},
  };
  return rules;
}

}  // namespace msltx::ops::op_cases
