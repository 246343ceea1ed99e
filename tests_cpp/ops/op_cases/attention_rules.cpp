#include "ops/op_cases/rules.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

namespace msltx::ops::op_cases {
namespace {

// Scores but for their soft cap, which takes from no error; a distance adds up as its slope's term.
// Gradients likewise: the derivative of the soft cap is 1 at most.
void attention_scores(const Problem& problem, const Outputs& out) {
  Problem uncapped = absolute(problem, {"alibi_slopes"});
  std::erase_if(uncapped.c.attributes, [](auto& a) { return a.first == "softcap"; });
  add_outputs(uncapped, out);
}

// Fused attention, query by query. Elements of (B, heads, places, hs) go by the index of their row.
struct Attention {
  const Problem& p;
  const Values &q = p["q"], &k = p[cached() ? "k_cache" : "k"], &v = p[cached() ? "v_cache" : "v"];
  int64_t B = p.size("B"), nh = p.size("nh"), nkv = p.size("nkv"), T = p.size("T"), S = p.size("S"),
          hs = p.size("hs");
  double scale = given_scale();

  bool cached() const { return p.info->name == "attention_inference"; }
  double given_scale() const {
    const double given = p.attribute("scale");
    return given != 0 ? given : 1 / std::sqrt(static_cast<double>(p.size("hs")));
  }
  int64_t place(int64_t b, int64_t t) const { return (cached() ? p["lengths"].i(b) : S) - T + t; }
  bool sees(int64_t b, int64_t t, int64_t s) const {
    const int64_t i = place(b, t);
    const auto window = static_cast<int64_t>(p.attribute("window"));
    const bool causal = cached() || p.attribute("causal") != 0;
    if (window > 0 && (s <= i - window || s >= i + window)) return false;
    if (!cached() && p.has("document_starts") && s < p["document_starts"].i(b * T + t))
      return false;
    return !causal || s <= i;
  }
  // A score, and its magnitude.
  std::pair<double, double> score(int64_t b, int64_t h, int64_t t, int64_t s) const {
    const int64_t query = (b * nh + h) * T + t, key = (b * nkv + h / (nh / nkv)) * S + s;
    double x = scale * product(q, query, k, key, false);
    double size = scale * product(q, query, k, key, true);
    const double cap = p.attribute("softcap");
    if (cap != 0) x = cap * std::tanh(x / cap);
    const auto add = [&](double term) {
      x += term;
      size += std::isfinite(term) ? std::abs(term) : 0;
    };
    const int64_t apart = place(b, t) - s;
    if (!cached() && p.has("bias")) add(p["bias"].f((h * T + t) * S + s));
    if (cached() && p.has("relative_bias")) add(p["relative_bias"].f(h * S + S - 1 - apart));
    if (p.has("alibi_slopes")) {
      add(-double{p["alibi_slopes"].f(h)} * static_cast<double>(std::abs(apart)));
    }
    return {x, size};
  }
  // Sums over hs of products, or of their absolute values.
  double product(const Values& x, int64_t i, const Values& y, int64_t j, bool absolute) const {
    double sum = 0;
    for (int64_t e = 0; e < hs; ++e) {
      const double term = double{x.f(i * hs + e)} * double{y.f(j * hs + e)};
      sum += absolute ? std::abs(term) : term;
    }
    return sum;
  }
  // The largest factor of dropout: the magnitude takes no notice of what is dropped.
  double kept() const { return cached() ? 1 : 1 / (1 - p.attribute("dropout")); }
  // fn(query row, first key row, probability magnitudes, largest score magnitude, lse) per query.
  // An exponential is as wrong, relatively, as its argument absolutely.
  template <class Fn>
  void for_each_query(Fn&& fn) const {
    constexpr double kNone = -std::numeric_limits<double>::infinity();
    std::vector<double> weights;
    for (int64_t i = 0; i < B * nh * T; ++i) {
      const int64_t b = i / (nh * T), h = i / T % nh, t = i % T;
      const int64_t first = (b * nkv + h / (nh / nkv)) * S;
      weights.assign(static_cast<size_t>(S), kNone);
      double largest = 0, max = kNone, sum = 0;
      for (int64_t s = 0; s < S; ++s) {
        if (!sees(b, t, s)) continue;
        const auto [x, size] = score(b, h, t, s);
        weights[static_cast<size_t>(s)] = x;
        largest = std::max(largest, size);
        max = std::max(max, x);
      }
      const bool none = max == kNone;
      for (double& w : weights) sum += w = none ? 0 : std::exp(w - max);
      for (double& w : weights) w *= none ? 0 : (1 + largest) * kept() / sum;
      fn(i, first, weights, largest, none ? 0 : max + std::log(sum));
    }
  }
};

void attention_forward(const Problem& p, const Outputs& out) {
  const Attention a{p};
  a.for_each_query([&](int64_t i, int64_t first, const std::vector<double>& weights, double largest,
                       double lse) {
    if (!a.cached()) out.add("lse", i, std::abs(lse) + largest);
    for (size_t s = 0; s < weights.size(); ++s) {
      for (int64_t e = 0; e < a.hs; ++e) {
        const int64_t key = (first + static_cast<int64_t>(s)) * a.hs + e;
        out.add("out", i * a.hs + e, weights[s] * std::abs(a.v.f(key)));
      }
    }
  });
}

void attention_backward(const Problem& p, const Outputs& out) {
  const Attention a{p};
  const Values& d_out = p["d_out"];
  Expectation &d_q = out["d_q"], &d_k = out["d_k"], &d_v = out["d_v"];
  a.for_each_query(
      [&](int64_t i, int64_t first, const std::vector<double>& weights, double, double) {
        const double delta = a.product(d_out, i, p["forward_out"], i, true);
        for (size_t s = 0; s < weights.size(); ++s) {
          const int64_t row = first + static_cast<int64_t>(s);
          const double w = weights[s];
          const double ds = a.scale * w * (a.product(d_out, i, a.v, row, true) + delta);
          for (int64_t e = 0; e < a.hs; ++e) {
            const int64_t query = i * a.hs + e, key = row * a.hs + e;
            grow(d_q, query) += ds * std::abs(a.k.f(key));
            grow(d_k, key) += ds * std::abs(a.q.f(query));
            grow(d_v, key) += w * std::abs(d_out.f(query));
          }
        }
      });
}

void attention_backward_bias(const Problem& p, const Outputs& out) {
  const Attention a{p};
  const Values& d_out = p["d_out"];
  Expectation& d_bias = out["d_bias"];
  if (p.attribute("accumulate") != 0) {
    for (int64_t i = 0; i < p["d_bias"].count(); ++i) grow(d_bias, i) += std::abs(p["d_bias"].f(i));
  }
  a.for_each_query(
      [&](int64_t i, int64_t first, const std::vector<double>& weights, double, double) {
        const double delta = a.product(d_out, i, p["forward_out"], i, true);
        const int64_t row = i % (a.nh * a.T) * a.S;
        for (int64_t s = 0; s < a.S; ++s) {
          const double size = a.product(d_out, i, a.v, first + s, true) + delta;
          grow(d_bias, row + s) += weights[static_cast<size_t>(s)] * size;
        }
      });
}

}  // namespace

const std::map<std::string_view, Rule>& attention_rules() {
  static const std::map<std::string_view, Rule> rules = {
      {"split_heads_forward", expect_equal},
      {"split_heads_backward", expect_equal},
      {"merge_heads_forward", expect_equal},
      {"merge_heads_backward", expect_equal},
      {"attention_scores_forward", attention_scores},
      {"attention_scores_backward", attention_scores},
      {"attention_scores_backward_bias", polynomial},
      {"attention_mix_forward", polynomial},
      {"attention_mix_backward", polynomial},
      {"flash_attention_forward", attention_forward},
      {"flash_attention_backward", attention_backward},
      {"flash_attention_backward_bias", attention_backward_bias},
      {"relative_position_bias_forward", expect_equal},
      {"relative_position_bias_backward", polynomial},
      {"relative_attention_scores_forward", polynomial},
      {"relative_attention_scores_backward_data", polynomial},
      {"relative_attention_scores_backward_weights", polynomial},
      {"kv_cache_append", expect_equal},
      {"kv_cache_gather", expect_equal},
      {"attention_inference", attention_forward},
  };
  return rules;
}

}  // namespace msltx::ops::op_cases
