// What an optimizer step is made of. The decision to skip is taken on the device: clip writes the
// grad_scale and skip scalars, adamw, adam and sgd obey them, the host reads them afterwards.
#pragma once

#include "msltx/ops/op.h"

namespace msltx::ops {

struct Zero {
  static constexpr std::string_view name = "zero";
  static constexpr std::string_view summary = "x = 0";
  Tensor x;

  template <class V>
  static void visit(V& v) {
    v.updates("x", &Zero::x, "N").float32();
  }
  double flops() const { return 0; }
};

struct GlobalNorm {
  static constexpr std::string_view name = "global_norm";
  static constexpr std::string_view summary =
      "norm = sqrt(sum of squares), added up in fixed blocks, in float64 across them";
  Tensor norm, x;

  template <class V>
  static void visit(V& v) {
    v.writes("norm", &GlobalNorm::norm, "1").float32();
    v.reads("x", &GlobalNorm::x, "N").float32();
  }
  double flops() const { return 2.0 * static_cast<double>(x.size()); }
};

struct Clip {
  static constexpr std::string_view name = "clip";
  static constexpr std::string_view summary =
      "grad_scale = min(1, max_norm / norm), 1 where max_norm is 0; skip = 1 where norm or loss is "
      "not "
      "finite or skip_always is set, else 0; out = x * grad_scale";
  Tensor out, grad_scale, skip, x, norm, loss;
  float max_norm = 1;
  bool skip_always = false;

  template <class V>
  static void visit(V& v) {
    v.writes("out", &Clip::out, "N").float32().when("x").alias("x");
    v.writes("grad_scale", &Clip::grad_scale, "1").float32();
    v.writes("skip", &Clip::skip, "1").float32();
    v.reads("x", &Clip::x, "N").float32().optional();
    v.reads("norm", &Clip::norm, "1").float32();
    v.reads("loss", &Clip::loss, "M", "losses that must be finite too").float32().optional();
    v.attribute("max_norm", &Clip::max_norm, "0: no limit").at_least(0);
    v.attribute("skip_always", &Clip::skip_always, "for a step without a counted token");
  }
  double flops() const { return out.defined() ? static_cast<double>(x.size()) : 0; }
};

struct Adamw {
  static constexpr std::string_view name = "adamw";
  static constexpr std::string_view summary =
      "g = grad * grad_scale; m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; "
      "param = (1 - lr weight_decay) param - lr m_hat / (sqrt(v_hat) + eps), m_hat = m / (1 - "
      "beta1^step), v_hat = v / (1 - beta2^step); nothing where skip is not 0 (Loshchilov and "
      "Hutter "
      "2019)";
  Tensor param, m, v, grad, grad_scale, skip;
  float lr = 1e-3f;
  double beta1 = 0.9, beta2 = 0.999;
  float eps = 1e-8f, weight_decay = 0.01f;
  int64_t step = 1;

  template <class V>
  static void visit(V& visitor) {
    visitor.updates("param", &Adamw::param, "N").float32();
    visitor.updates("m", &Adamw::m, "N", "first moment").float32();
    visitor.updates("v", &Adamw::v, "N", "second moment").float32();
    visitor.reads("grad", &Adamw::grad, "N").float32();
    visitor.reads("grad_scale", &Adamw::grad_scale, "1", "1 where absent").float32().optional();
    visitor.reads("skip", &Adamw::skip, "1", "0 where absent").float32().optional();
    visitor.attribute("lr", &Adamw::lr, "learning rate").at_least(0);
    visitor.attribute("beta1", &Adamw::beta1, "decay of m").at_least(0).below(1);
    visitor.attribute("beta2", &Adamw::beta2, "decay of v").at_least(0).below(1);
    visitor.attribute("eps", &Adamw::eps, "added to sqrt(v_hat)").at_least(0);
    visitor.attribute("weight_decay", &Adamw::weight_decay, "decoupled from the gradient")
        .at_least(0);
    visitor.attribute("step", &Adamw::step, "counted from 1").at_least(1);
  }
  double flops() const { return 14.0 * static_cast<double>(param.size()); }
};

struct Adam {
  static constexpr std::string_view name = "adam";
  static constexpr std::string_view summary =
      "as adamw, but with weight decay in the gradient: g = grad * grad_scale + weight_decay "
      "param, "
      "param = param - lr m_hat / (sqrt(v_hat) + eps) (Kingma and Ba 2015)";
  Tensor param, m, v, grad, grad_scale, skip;
  float lr = 1e-3f;
  double beta1 = 0.9, beta2 = 0.999;
  float eps = 1e-8f, weight_decay = 0;
  int64_t step = 1;

  template <class V>
  static void visit(V& visitor) {
    visitor.updates("param", &Adam::param, "N").float32();
    visitor.updates("m", &Adam::m, "N", "first moment").float32();
    visitor.updates("v", &Adam::v, "N", "second moment").float32();
    visitor.reads("grad", &Adam::grad, "N").float32();
    visitor.reads("grad_scale", &Adam::grad_scale, "1", "1 where absent").float32().optional();
    visitor.reads("skip", &Adam::skip, "1", "0 where absent").float32().optional();
    visitor.attribute("lr", &Adam::lr, "learning rate").at_least(0);
    visitor.attribute("beta1", &Adam::beta1, "decay of m").at_least(0).below(1);
    visitor.attribute("beta2", &Adam::beta2, "decay of v").at_least(0).below(1);
    visitor.attribute("eps", &Adam::eps, "added to sqrt(v_hat)").at_least(0);
    visitor.attribute("weight_decay", &Adam::weight_decay, "share of param added to the gradient")
        .at_least(0);
    visitor.attribute("step", &Adam::step, "counted from 1").at_least(1);
  }
  double flops() const { return 14.0 * static_cast<double>(param.size()); }
};

struct Sgd {
  static constexpr std::string_view name = "sgd";
  static constexpr std::string_view summary =
      "g = grad * grad_scale + weight_decay param; m = momentum m + g; param = param - lr m, with "
      "nesterov param - lr (g + momentum m); nothing where skip is not 0 (Polyak 1964; Sutskever "
      "et "
      "al. 2013)";
  Tensor param, grad, m, grad_scale, skip;
  float lr = 1e-3f, momentum = 0;
  bool nesterov = false;
  float weight_decay = 0;

  template <class V>
  static void visit(V& visitor) {
    visitor.updates("param", &Sgd::param, "N").float32();
    visitor.reads("grad", &Sgd::grad, "N").float32();
    visitor.updates("m", &Sgd::m, "N", "velocity; as if zero, and not kept, where absent")
        .float32()
        .when("m");
    visitor.reads("grad_scale", &Sgd::grad_scale, "1", "1 where absent").float32().optional();
    visitor.reads("skip", &Sgd::skip, "1", "0 where absent").float32().optional();
    visitor.attribute("lr", &Sgd::lr, "learning rate").at_least(0);
    visitor.attribute("momentum", &Sgd::momentum, "decay of m").at_least(0).below(1);
    visitor.attribute("nesterov", &Sgd::nesterov, "look ahead along m");
    visitor.attribute("weight_decay", &Sgd::weight_decay, "share of param added to the gradient")
        .at_least(0);
  }
  double flops() const { return 6.0 * static_cast<double>(param.size()); }
};

}  // namespace msltx::ops
