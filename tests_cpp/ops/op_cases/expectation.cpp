#include "ops/op_cases/expectation.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <set>

#include "msltx/base/error.h"
#include "msltx/base/philox.h"
#include "ops/op_cases/call.h"
#include "ops/op_cases/rules.h"

namespace msltx::ops::op_cases {
namespace {

constexpr double kTolerance = 1e-6, kLongSumTolerance = 1e-5, kBfloat16Tolerance = 1e-2;
constexpr int64_t kLongSum = 4096;
// How near to its limit a cumulative probability is left undecided.
constexpr double kUndecided = 1e-6;

double& grow(Expectation& e, int64_t i) { return e.magnitude[static_cast<size_t>(i)]; }

// The reference on absolute values; `negative` fields get their sign turned, so that what is
// subtracted adds up.
Problem absolute(const Problem& problem, const std::set<std::string_view>& negative = {}) {
  Problem result = problem;
  for (size_t i = 0; i < result.fields.size(); ++i) {
    const FieldInfo& field = problem.info->fields[i];
    if (field.element == Element::int32) continue;
    Values& values = result.fields[i];
    const float sign = negative.contains(field.name) ? -1.0f : 1.0f;
    for (int64_t k = 0; k < values.count(); ++k) values.set(k, sign * std::abs(values.f(k)));
  }
  return result;
}

void add_outputs(const Problem& problem, const Outputs& out) {
  const std::vector<Values> values = run_reference(problem);
  for (size_t i = 0; i < values.size(); ++i) {
    for (int64_t k = 0; k < values[i].count(); ++k) {
      if (std::isfinite(values[i].f(k))) grow(out.all[i], k) += std::abs(double{values[i].f(k)});
    }
  }
}

}  // namespace

void expect_equal(const Problem&, const Outputs& out) {
  for (Expectation& e : out.all) e.kind = Expectation::Kind::equal;
}

// Scores but for their soft cap, which takes from no error; a distance adds up as its slope's term.
// Gradients likewise: the derivative of the soft cap is 1 at most.
void attention_scores(const Problem& problem, const Outputs& out) {
  Problem uncapped = absolute(problem, {"alibi_slopes"});
  std::erase_if(uncapped.c.attributes, [](auto& a) { return a.first == "softcap"; });
  add_outputs(uncapped, out);
}

void polynomial(const Problem& problem, const Outputs& out) { add_outputs(absolute(problem), out); }

namespace {

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

Rule rule_of(std::string_view op) {
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
      {"kv_cache_append", expect_equal},
      {"kv_cache_gather", expect_equal},
      {"attention_inference", attention_forward},
  };
  const auto found = rules.find(op);
  const auto more = family_rules().find(op);
  if (found == rules.end() && more != family_rules().end()) return more->second;
  if (found == rules.end()) throw ValueError(concat("no rule says how exact ", op, " must be"));
  return found->second;
}

}  // namespace

Expectations expectations_of(const Problem& given) {
  const Problem problem = given.in_float32();
  std::vector<Values> values = run_reference(problem);
  Expectations all(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    all[i].magnitude.assign(values[i].words.size(), 0);
    all[i].value = std::move(values[i]);
  }
  rule_of(problem.info->name)(problem, {problem, all});
  return all;
}

std::string compare(const Problem& problem, const FieldInfo& field, const Expectation& expected,
                    const Values& got) {
  using Kind = Expectation::Kind;
  if (expected.kind == Kind::anything) return {};
  const Values& want = expected.value;
  const bool integers = field.element == Element::int32;
  // What is exact is so up to the rounding of its type.
  const bool rounds = problem.type(field) == DType::bfloat16;
  const int64_t length =
      integers || !expected.undecided.empty()
          ? want.count() / std::max<int64_t>(1, static_cast<int64_t>(
                                                    std::max<size_t>(1, expected.undecided.size())))
          : want.row_length();
  const double tolerance = problem.c.bfloat16                    ? kBfloat16Tolerance
                           : problem.c.largest_size() > kLongSum ? kLongSumTolerance
                                                                 : kTolerance;
  const auto report = [&](int64_t i, std::string_view how) {
    const auto show = [&](const Values& v) { return integers ? concat(v.i(i)) : concat(v.f(i)); };
    return concat(field.name, " element ", i, " (row length ", length, "): got ", show(got),
                  ", expected ", show(want), how);
  };
  for (int64_t first = 0; first < want.count(); first += length) {
    const auto row = static_cast<size_t>(first / length);
    if (!expected.undecided.empty() && expected.undecided[row]) continue;
    double error = 0, size = 0, magnitude = 0, worst = 0;
    int64_t worst_at = first;
    for (int64_t i = first; i < first + length; ++i) {
      if (expected.kind == Kind::equal) {
        if (got.words[static_cast<size_t>(i)] != want.words[static_cast<size_t>(i)] &&
            (integers ||
             got.f(i) != (rounds ? static_cast<float>(bfloat16(want.f(i))) : want.f(i)))) {
          return report(i, "");
        }
        continue;
      }
      const double a = got.f(i), b = want.f(i), m = expected.magnitude[static_cast<size_t>(i)];
      if (!std::isfinite(a) || !std::isfinite(b)) {
        if (a == b || (std::isnan(a) && std::isnan(b))) continue;
        return report(i, "");
      }
      error += (a - b) * (a - b);
      size += b * b;
      magnitude += m * m;
      if (std::abs(a - b) > worst) worst = std::abs(a - b), worst_at = i;
    }
    // Below the smallest normal float32 there are no digits to compare.
    const double limit = tolerance * (std::sqrt(size) + std::sqrt(magnitude)) +
                         double{std::numeric_limits<float>::min()};
    if (std::sqrt(error) > limit) {
      return report(worst_at,
                    concat(", magnitude ", expected.magnitude[static_cast<size_t>(worst_at)],
                           "; the row's error is ", std::sqrt(error) / limit, " times its limit"));
    }
  }
  return {};
}

}  // namespace msltx::ops::op_cases
