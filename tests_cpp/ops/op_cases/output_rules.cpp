#include "ops/op_cases/rules.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "msltx/base/philox.h"

namespace msltx::ops::op_cases {
namespace {

// How near to its limit a cumulative probability is left undecided.
constexpr double kUndecided = 1e-6;

void adamw(const Problem& problem, const Outputs& out) {
  add_outputs(absolute(problem, {"m", "grad"}), out);
}

// Its outputs may be anything in a step that is skipped.
void clip(const Problem& problem, const Outputs& out) {
  if (out["skip"].value.f(0) != 0) {
    out["grad_scale"].kind = Expectation::Kind::anything;
    out["out"].kind = Expectation::Kind::anything;
  } else {
    polynomial(problem, out);
  }
}

double counted_rows(const Problem& p) {
  double count = 0;
  for (int64_t n = 0; n < p.size("N"); ++n) {
    if (p["targets"].i(n) != static_cast<int32_t>(p.attribute("ignore_index"))) ++count;
  }
  return count;
}

void cross_entropy(const Problem& p, const Outputs& out) {
  const Values& logits = p["logits"];
  const int64_t N = p.size("N"), V = p.size("V");
  const double given = p.attribute("normalizer");
  const double normalizer = given != 0 ? given : std::max(1.0, counted_rows(p));
  const bool backward = p.info->name == "softmax_cross_entropy_backward";
  for (int64_t n = 0; n < N; ++n) {
    const bool counted = p["targets"].i(n) != static_cast<int32_t>(p.attribute("ignore_index"));
    double largest = std::log(static_cast<double>(V));
    for (int64_t v = 0; v < V; ++v) {
      largest = std::max(largest, std::abs(double{logits.f(n * V + v)}));
    }
    if (!backward) {
      out.add("lse", n, largest);
      if (counted) out.add("loss", 0, 2 * largest / normalizer);
      continue;
    }
    for (int64_t v = 0; v < V && counted; ++v) {
      const double x = logits.f(n * V + v), lse = p["lse"].f(n);
      const double size = std::exp(x - lse) * (1 + std::abs(x) + std::abs(lse));
      out.add("d_logits", n * V + v, (size + (v == p["targets"].i(n) ? 1 : 0)) / normalizer);
    }
  }
}

void linear_cross_entropy(const Problem& p, const Outputs& out) {
  const Values &hidden = p["hidden"], &weight = p["weight"];
  const int64_t N = p.size("N"), C = p.size("C"), V = p.size("V");
  const double scale = p.attribute("scale"), cap = p.attribute("logit_softcap");
  const bool backward = p.info->name == "linear_cross_entropy_forward_backward";
  if (backward && p.attribute("accumulate") != 0) {
    for (int64_t i = 0; i < V * C; ++i) out.add("d_weight", i, std::abs(p["d_weight"].f(i)));
    for (int64_t v = 0; v < V && p.has("d_bias"); ++v) {
      out.add("d_bias", v, std::abs(p["d_bias"].f(v)));
    }
  }
  std::vector<double> logits(static_cast<size_t>(V)), sizes(static_cast<size_t>(V)),
      slopes(static_cast<size_t>(V));
  for (int64_t n = 0; n < N; ++n) {
    const int64_t target = p["targets"].i(n);
    if (target == static_cast<int64_t>(p.attribute("ignore_index"))) continue;
    double max = -std::numeric_limits<double>::infinity(), largest = 0, sum = 0;
    for (size_t v = 0; v < logits.size(); ++v) {
      const auto row = static_cast<int64_t>(v) * C;
      const double bias = p.has("bias") ? p["bias"].f(static_cast<int64_t>(v)) : 0.0f;
      logits[v] = bias;
      sizes[v] = std::abs(bias);
      for (int64_t c = 0; c < C; ++c) {
        const double term = double{hidden.f(n * C + c)} * double{weight.f(row + c)};
        logits[v] += term;
        sizes[v] += std::abs(term);
      }
      slopes[v] = 1;
      if (cap > 0) {  // a rounded logit moves the slope by at most that share of the cap
        const double tanh = std::tanh(logits[v] / cap);
        logits[v] = cap * tanh;
        slopes[v] = (1 + tanh * tanh) * (1 + sizes[v] / cap);
      }
      max = std::max(max, logits[v]);
      largest = std::max(largest, sizes[v]);
    }
    for (double logit : logits) sum += std::exp(logit - max);
    out.add("loss", 0, scale * (2 * largest + std::log(static_cast<double>(V))));
    for (size_t v = 0; v < logits.size() && backward; ++v) {
      const auto token = static_cast<int64_t>(v);
      const double probability = std::exp(logits[v] - max) / sum;
      const double d =
          scale * slopes[v] * (probability * (1 + 2 * largest) + (token == target ? 1 : 0));
      out.add("d_bias", token, d);
      for (int64_t c = 0; c < C; ++c) {
        grow(out["d_hidden"], n * C + c) += d * std::abs(weight.f(token * C + c));
        grow(out["d_weight"], token * C + c) += d * std::abs(hidden.f(n * C + c));
      }
    }
  }
}

// Rows in which a cumulative probability, of tokens in some order, comes near a limit.
void leave_undecided(const Problem& p, Expectation& e, bool sorted,
                     const std::function<double(int64_t)>& limit) {
  const Values& logits = p["logits"];
  const int64_t V = p.size("V");
  e.kind = Expectation::Kind::equal;
  e.undecided.assign(static_cast<size_t>(p.size("N")), false);
  for (int64_t n = 0; n < p.size("N"); ++n) {
    std::vector<double> row;
    for (int64_t v = 0; v < V; ++v) row.push_back(logits.f(n * V + v));
    if (sorted) std::sort(row.begin(), row.end(), std::greater<>());
    const double max = *std::max_element(row.begin(), row.end());
    double sum = 0, cumulative = 0;
    for (double& x : row) sum += x = std::exp(x - max);
    for (double x : row) {
      cumulative += x / sum;
      const bool near = std::abs(cumulative - limit(n)) < kUndecided;
      if (near) e.undecided[static_cast<size_t>(n)] = true;
    }
  }
}

void topp_mask(const Problem& p, const Outputs& out) {
  const double limit = static_cast<float>(p.attribute("p"));
  if (limit >= 1) return expect_equal(p, out);
  leave_undecided(p, out["out"], true, [&](int64_t) { return limit; });
}

void categorical_sample(const Problem& p, const Outputs& out) {
  leave_undecided(p, out["tokens"], false, [&](int64_t n) {
    const int64_t sequence = p.has("sequences") ? p["sequences"].i(n) : n;
    const auto seed = static_cast<int64_t>(p.attribute("seed"));
    const Philox4 words =
        philox(static_cast<uint64_t>(seed), RandomStream::sampling,
               static_cast<uint32_t>(p.attribute("step")), static_cast<uint32_t>(sequence), 0);
    return uniform_double(words[0], words[1]);
  });
}

}  // namespace

const std::map<std::string_view, Rule>& output_rules() {
  static const std::map<std::string_view, Rule> rules = {
      {"softmax_cross_entropy_forward", cross_entropy},
      {"softmax_cross_entropy_backward", cross_entropy},
      {"linear_cross_entropy_forward", linear_cross_entropy},
      {"linear_cross_entropy_forward_backward", linear_cross_entropy},
      {"zero", expect_equal},
      {"global_norm", polynomial},
      {"clip", clip},
      {"adamw", adamw},
      {"temperature_scale", polynomial},
      {"topk_mask", expect_equal},
      {"topp_mask", topp_mask},
      {"argmax_sample", expect_equal},
      {"categorical_sample", categorical_sample},
  };
  return rules;
}

}  // namespace msltx::ops::op_cases
