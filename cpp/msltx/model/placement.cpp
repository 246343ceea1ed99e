#include "msltx/model/placement.h"

#include "msltx/ops/ops.h"

namespace msltx::model {
namespace {

using ops::Stream;

bool has_norm_before(NormPlacement placement) {
  return placement == NormPlacement::pre || placement == NormPlacement::sandwich;
}

}  // namespace

void PlacementActivations::declare(TensorPlan& plan, const GPTConfig& config,
                                   const std::string& name, Life life, bool first) {
  const NormPlacement placement = config.norm_placement;
  // In inference the blocks share their tensors, so that the first has what the others need.
  const bool adds = !first || !plan.for_backward();
  if (has_norm_before(placement)) before.declare(plan, config, name, life, adds);
  if (placement == NormPlacement::post) {
    after.declare(plan, config, name, life, true, NormOut::stream);
  }
  // The result of a norm after f is the branch itself.
  if (placement == NormPlacement::sandwich) {
    after.declare(plan, config, name + "_post", life, true, NormOut::elsewhere);
  }
  if (placement == NormPlacement::sublayer) {
    after.declare(plan, config, name, life, true, NormOut::elsewhere);
    if (adds) plan.add_float32(x, name + ".x", {plan.rows(), config.embedding_dim}, life);
  }
}

PlacementActivations PlacementActivations::rows(const ops::Rows& r) const {
  return {before.rows(r), after.rows(r), cut(x, r), cut(branch, r)};
}

Placement::Placement(const GPTConfig& config, Parameters& parameters, const std::string& name)
    : name_(name), placement_(config.norm_placement), dropout_(config.dropout, name) {
  if (has_norm_before(placement_)) {
    before_ = NormLayer(config, parameters, name);
  } else {
    after_ = NormLayer(config, parameters, name);
  }
  if (placement_ == NormPlacement::sandwich) {
    after_ = NormLayer(config, parameters, name + "_post");
  }
}

Tensor Placement::enter(Stream& stream, const PlacementActivations& a, Residual& input) const {
  Stream::Scope scope(stream, name_);
  if (input.branch.defined()) {
    if (before_.exists()) {
      before_.add_forward(stream, a.before, input.branch, input.stream);
      input.stream = a.before.in;
    } else {
      ops::residual_add_forward(stream, {a.x, input.branch, input.stream});
      input.stream = a.x;
    }
  } else if (before_.exists()) {
    before_.forward(stream, a.before, input.stream);
  }
  return before_.exists() ? a.before.out : input.stream;
}

Tensor Placement::entered(const PlacementActivations& a, const Tensor& stream) const {
  if (before_.exists()) return a.before.out;
  return a.x.defined() ? a.x : stream;
}

Tensor Placement::output(const PlacementActivations& a) const {
  return after_.exists() && placement_ != NormPlacement::post ? a.after.in : a.branch;
}

Residual Placement::leave(Stream& stream, const PlacementActivations& a, const Residual& input,
                          const BatchPart& part) const {
  Stream::Scope scope(stream, name_);
  if (placement_ == NormPlacement::post) {
    dropout_.forward(stream, a.branch, part);
    after_.add_forward(stream, a.after, a.branch, input.stream);
    return {a.after.out, {}};
  }
  if (after_.exists()) {
    NormActivations norm = a.after;
    norm.out = a.branch;
    after_.forward(stream, norm, a.after.in);
  }
  dropout_.forward(stream, a.branch, part);
  return {input.stream, a.branch};
}

void Placement::leave_backward(Stream& stream, const PlacementActivations& a,
                               const PlacementGradients& g, const BatchPart& part,
                               int64_t chunk_rows) const {
  Stream::Scope scope(stream, name_);
  if (!dropout_.exists()) {
    if (after_.exists()) after_.backward_data(stream, a.after, g.d_out, g.d_y, {}, chunk_rows);
  } else if (!after_.exists()) {
    dropout_.backward(stream, g.d_out, g.d_y, part);
  } else if (placement_ == NormPlacement::post) {
    after_.backward_data(stream, a.after, g.d_x, g.d_y, {}, chunk_rows);
    dropout_.backward(stream, g.d_out, g.d_x, part);
  } else {
    dropout_.backward(stream, g.d_in, g.d_y, part);
    after_.backward_data(stream, a.after, g.d_out, g.d_in, {}, chunk_rows);
  }
}

void Placement::enter_backward(Stream& stream, const PlacementActivations& a,
                               const PlacementGradients& g, int64_t chunk_rows) const {
  Stream::Scope scope(stream, name_);
  if (before_.exists()) {
    before_.backward_data(stream, a.before, g.d_x, g.d_in, g.d_y, chunk_rows);
  } else if (placement_ == NormPlacement::post && dropout_.exists()) {
    ops::residual_add_forward(stream, {g.d_x, g.d_x, g.d_in});
  } else {
    const Tensor& d_stream = placement_ == NormPlacement::post ? g.d_out : g.d_y;
    ops::residual_add_forward(stream, {g.d_x, g.d_in, d_stream});
  }
}

void Placement::backward_weights(Stream& stream, const PlacementActivations& a,
                                 bool accumulate) const {
  if (after_.exists()) after_.backward_weights(stream, a.after, accumulate);
  if (before_.exists()) before_.backward_weights(stream, a.before, accumulate);
}

}  // namespace msltx::model
