#include "ops/op_cases/rules.h"

#include <cmath>

namespace msltx::ops::op_cases {
namespace {

// gelu'(x) stays within 1.13, but its terms grow like x.
constexpr double kGeluSlope = 1.13;

void linear_forward(const Problem& problem, const Outputs& out) {
  Problem linear = absolute(problem);
  std::erase_if(linear.c.attributes, [](auto& a) { return a.first == "activation"; });
  add_outputs(linear, out);
}

void linear_backward_data(const Problem& problem, const Outputs& out) {
  const bool activated = problem.attribute("activation") != 0;
  Problem linear = absolute(problem);
  std::erase_if(linear.c.attributes, [](auto& a) { return a.first == "activation"; });
  if (activated) {
    Values& d_out = linear["d_out"];
    for (int64_t i = 0; i < d_out.count(); ++i) {
      const double size = d_out.f(i) * (1 + std::abs(problem["pre"].f(i)));
      out.add("d_pre", i, size);
      d_out.set(i, static_cast<float>(kGeluSlope * size));
    }
    linear.c.omit.push_back("pre");
    linear.c.omit.push_back("d_pre");
  }
  add_outputs(linear, out);
}

void gelu_forward(const Problem& p, const Outputs& out) {
  for (int64_t i = 0; i < p["x"].count(); ++i) out.add("out", i, std::abs(p["x"].f(i)));
}

void gelu_backward(const Problem& p, const Outputs& out) {
  for (int64_t i = 0; i < p["x"].count(); ++i) {
    out.add("d_x", i, std::abs(p["d_out"].f(i)) * (1 + std::abs(p["x"].f(i))));
  }
}

// An exponential is as wrong, relatively, as its argument absolutely.
void softmax_forward(const Problem& p, const Outputs& out) {
  const Values& x = p["x"];
  for (int64_t i = 0; i < x.count(); ++i) {
    if (std::isfinite(x.f(i))) {
      out.add("out", i, out["out"].value.f(i) * (1 + std::abs(double{x.f(i)})));
    }
  }
}

void softmax_backward(const Problem& p, const Outputs& out) {
  const Values &d = p["d_out"], &y = p["forward_out"];
  for (int64_t first = 0; first < y.count(); first += y.row_length()) {
    double sum = 0;
    for (int64_t i = first; i < first + y.row_length(); ++i) sum += std::abs(d.f(i) * y.f(i));
    for (int64_t i = first; i < first + y.row_length(); ++i) {
      out.add("d_x", i, y.f(i) * (std::abs(d.f(i)) + sum));
    }
  }
}

// Statistics of a row of layer normalization, and of its absolute values.
struct Row {
  double mean = 0, rstd = 0, size = 0;
  Row(const Values& x, int64_t n, double eps) {
    const int64_t C = x.row_length();
    double squares = 0;
    for (int64_t c = 0; c < C; ++c) {
      mean += x.f(n * C + c) / static_cast<double>(C);
      size += std::abs(x.f(n * C + c)) / static_cast<double>(C);
    }
    for (int64_t c = 0; c < C; ++c) squares += std::pow(x.f(n * C + c) - mean, 2);
    rstd = 1 / std::sqrt(squares / static_cast<double>(C) + eps);
  }
};

void layernorm_forward(const Problem& p, const Outputs& out) {
  const bool residual = p.info->name == "residual_layernorm_forward";
  const Values& x = residual ? out["sum"].value : p["x"];
  const int64_t N = p.size("N"), C = p.size("C");
  for (int64_t n = 0; n < N; ++n) {
    const Row row(x, n, p.attribute("eps"));
    out.add("mean", n, row.size);
    out.add("rstd", n, row.rstd * (1 + row.rstd * row.size));
    for (int64_t c = 0; c < C; ++c) {
      const int64_t i = n * C + c;
      const double x_hat = (std::abs(x.f(i)) + row.size) * row.rstd;
      const double lost = 1 + std::abs(x.f(i) - row.mean) * row.rstd;  // through rstd
      out.add("out", i, x_hat * lost * std::abs(p["gamma"].f(c)));
      if (p.has("beta")) out.add("out", i, std::abs(p["beta"].f(c)));
      if (residual) out.add("sum", i, std::abs(p["x"].f(i)) + std::abs(p["residual"].f(i)));
    }
  }
}

void layernorm_backward_data(const Problem& p, const Outputs& out) {
  const bool residual = p.info->name == "residual_layernorm_backward_data";
  const Values &x = residual ? p["sum"] : p["x"], &d_out = p["d_out"], &gamma = p["gamma"];
  const int64_t N = p.size("N"), C = p.size("C");
  const auto block = static_cast<int64_t>(p.attribute("partial_rows"));
  for (int64_t n = 0; n < N; ++n) {
    const Row row(x, n, p.attribute("eps"));
    const double lost = p.has("mean") ? 1 : 1 + row.rstd * row.size;  // through rstd
    const auto x_hat = [&](int64_t i) { return (std::abs(x.f(i)) + row.size) * row.rstd; };
    const auto g = [&](int64_t c) { return std::abs(d_out.f(n * C + c) * gamma.f(c)); };
    double g_mean = 0, g_x_mean = 0;
    for (int64_t c = 0; c < C; ++c) {
      g_mean += g(c) / static_cast<double>(C);
      g_x_mean += g(c) * x_hat(n * C + c) / static_cast<double>(C);
    }
    for (int64_t c = 0; c < C; ++c) {
      const int64_t i = n * C + c, p_row = block > 0 ? n / block : 0;
      out.add("d_x", i, lost * row.rstd * (g(c) + g_mean + x_hat(i) * g_x_mean));
      if (residual && p.has("d_sum")) out.add("d_x", i, std::abs(p["d_sum"].f(i)));
      out.add("d_gamma_partials", p_row * C + c, lost * std::abs(d_out.f(i)) * x_hat(i));
      out.add("d_beta_partials", p_row * C + c, std::abs(d_out.f(i)));
    }
  }
}

}  // namespace

const std::map<std::string_view, Rule>& layer_rules() {
  static const std::map<std::string_view, Rule> rules = {
      {"embedding_forward", expect_equal},
      {"embedding_backward", polynomial},
      {"positional_embedding_add_forward", polynomial},
      {"positional_embedding_add_backward", polynomial},
      {"layernorm_forward", layernorm_forward},
      {"layernorm_backward_data", layernorm_backward_data},
      {"layernorm_backward_weights", polynomial},
      {"residual_layernorm_forward", layernorm_forward},
      {"residual_layernorm_backward_data", layernorm_backward_data},
      {"linear_forward", linear_forward},
      {"linear_backward_data", linear_backward_data},
      {"linear_backward_weights", polynomial},
      {"gelu_forward", gelu_forward},
      {"gelu_backward", gelu_backward},
      {"residual_add_forward", polynomial},
      {"residual_add_backward", expect_equal},
      {"softmax_forward", softmax_forward},
      {"softmax_backward", softmax_backward},
  };
  return rules;
}

}  // namespace msltx::ops::op_cases
