#include "msltx/model/gpt.h"

#include <algorithm>
#include <cmath>

#include "msltx/base/error.h"
#include "msltx/base/memory.h"
#include "msltx/ops/ops.h"

namespace msltx::model {
namespace {

using ops::Rows;
using ops::Stream;

// Positions (context_length, C): even columns sin, odd cos of position / 10000^(2i / C)
// (Vaswani et al. 2017).
void fill_sinusoids(const Tensor& table) {
  const int64_t C = table.dim(1);
  for (int64_t t = 0; t < table.dim(0); ++t) {
    for (int64_t c = 0; c < C; ++c) {
      const double exponent = static_cast<double>(c / 2 * 2) / static_cast<double>(C);
      const double angle = static_cast<double>(t) / std::pow(10000.0, exponent);
      table.data()[t * C + c] = static_cast<float>(c % 2 == 0 ? std::sin(angle) : std::cos(angle));
    }
  }
}

// "124,439,808"
std::string with_separators(int64_t count) {
  const std::string digits = std::to_string(count);
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

// "23 MB", "1.5 GB"
std::string size_text(int64_t bytes) {
  const int64_t megabytes = (bytes + 500'000) / 1'000'000;
  if (megabytes < 1000) return concat(megabytes, " MB");
  const int64_t tenths = (bytes + 50'000'000) / 100'000'000;
  return concat(with_separators(tenths / 10), ".", tenths % 10, " GB");
}

// Lets an encoding run without its ops, so that scratch is reserved before the first step.
struct AskOnly : ops::Interceptor {
  bool runs_ops() const override { return false; }
};

}  // namespace

GPT::GPT(GPTConfig config, uint64_t seed, const GPTOptions& options)
    : config_(complete(std::move(config))),
      options_(options),
      parameters_([&]() -> const GPTConfig& {
        check_supported(config_);
        if (options_.dtype != DType::float32) {
          throw ValueError(concat("dtype is ", name_of(options_.dtype),
                                  "; this version computes in float32 only"));
        }
        if (!options_.backend) options_.backend = &ops::default_backend();
        if (!options_.executor) options_.executor = &Executor::global();
        const int64_t bytes = parameter_arena_bytes(config_);
        const int64_t limit =
            options_.memory_limit > 0 ? options_.memory_limit : available_memory();
        if (bytes > limit) {
          throw MemoryLimitError(concat("the model's ", with_separators(parameter_count(config_)),
                                        " parameters take ", size_text(bytes), "; ",
                                        size_text(limit), " of memory may be used"));
        }
        return config_;
      }()) {
  for (int64_t layer = 0; layer < config_.num_layers; ++layer) {
    blocks_.emplace_back(config_, parameters_, layer);
  }
  tokens_ = &parameters_.at("embed.tokens.weight");
  positions_ = parameters_.find("embed.positions.weight");
  norm_weight_ = parameters_.find("norm.weight");
  norm_bias_ = parameters_.find("norm.bias");
  head_weight_ = config_.tie_weights ? tokens_ : &parameters_.at("head.weight");
  head_bias_ = parameters_.find("head.bias");
  if (config_.positions.has(Position::sinusoidal)) {
    constants_ = Arena(config_.context_length * config_.embedding_dim * size_of(DType::float32));
    sinusoids_ =
        constants_.allocate(DType::float32, {config_.context_length, config_.embedding_dim});
    fill_sinusoids(sinusoids_);
  }
  loss_arena_ = Arena(Arena::kAlignment);
  loss_ = loss_arena_.allocate(DType::float32, {1});
  if (options_.initialize) initialize(parameters_, config_, seed);
}

Stream GPT::make_stream() {
  const int threads = options_.executor->threads();
  if (!scratch_ || scratch_->workers() != threads)
    scratch_ = std::make_unique<ops::Scratch>(threads);
  return Stream(*options_.backend, *options_.executor, *scratch_, interceptor_);
}

void GPT::run(const std::function<void(Stream&)>& encode) {
  Stream stream = make_stream();
  options_.executor->run([&] {
    encode(stream);
    stream.submit();
    stream.wait();
  });
}

void GPT::check_shape(BatchShape shape) const {
  if (shape.sequences < 1 || shape.length < 1) {
    throw ValueError(concat("a batch of ", shape.sequences, " sequences of ", shape.length,
                            " tokens has nothing in it"));
  }
  if (shape.length > config_.context_length) {
    throw ValueError(concat("sequences of ", shape.length,
                            " tokens are longer than the model's context_length of ",
                            config_.context_length));
  }
}

void GPT::check_tokens(const int32_t* tokens, int64_t count) const {
  for (int64_t i = 0; i < count; ++i) {
    if (tokens[i] < 0 || tokens[i] >= config_.vocab_size) {
      throw ValueError(concat("token ", tokens[i], " at position ", i, " is outside [0, ",
                              config_.vocab_size, "), the model's vocab_size"));
    }
  }
}

int64_t GPT::check_targets(const int32_t* targets, int64_t count, int64_t ignore_index) const {
  int64_t counted = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (targets[i] == ignore_index) continue;
    if (targets[i] < 0 || targets[i] >= config_.vocab_size) {
      throw ValueError(concat("target ", targets[i], " at position ", i, " is outside [0, ",
                              config_.vocab_size,
                              "), the model's vocab_size, and not ignore_index ", ignore_index));
    }
    ++counted;
  }
  return counted;
}

MemoryReport GPT::memory() const {
  MemoryReport report;
  report.parameters = parameter_arena_bytes(config_) + constants_.capacity();
  if (parameters_.has_gradients()) report.gradients = parameter_arena_bytes(config_);
  report.optimizer = step_.optimizer;
  report.batch = step_.batch;
  if (activations_) report.activations = activations_->plan().bytes();
  if (scratch_) report.scratch = scratch_->bytes();
  for (const Parameter& p : parameters_.list()) {
    if (p.weight.forms) report.packed += p.weight.forms->bytes();
  }
  return report;
}

void GPT::plan(BatchShape shape, Keep keep, StepBytes step) {
  check_shape(shape);
  const bool for_backward = keep == Keep::for_backward;
  const bool fits = activations_ && activations_->shape() == shape &&
                    (activations_->keep() == keep || !for_backward) &&
                    step.optimizer <= step_.optimizer && step.batch <= step_.batch;
  ready_for_backward_ = false;  // whoever plans is about to overwrite what a forward has left
  if (fits) return;
  step_.optimizer = std::max(step_.optimizer, step.optimizer);
  step_.batch = std::max(step_.batch, step.batch);
  auto next = std::make_unique<Activations>(config_, shape, keep);

  MemoryReport need = memory();
  int64_t held = need.parameters + need.gradients + need.packed;
  if (for_backward) need.gradients = parameter_arena_bytes(config_);
  need.activations = next->plan().bytes();
  need.packed = 0;
  for (const Parameter& p : parameters_.list()) {
    if (is_multiplied(p)) {
      need.packed += options_.backend->prepared_bytes(p.value, {true, for_backward});
    }
  }
  const int64_t limit = options_.memory_limit > 0
                            ? options_.memory_limit
                            : std::min(available_memory(), INT64_MAX - held) + held;
  if (need.total() > limit) {
    throw MemoryLimitError(
        concat("a batch of ", shape.sequences, " x ", shape.length, " tokens needs ",
               size_text(need.total()), " (parameters ", size_text(need.parameters), ", gradients ",
               size_text(need.gradients), ", optimizer ", size_text(need.optimizer), ", batch ",
               size_text(need.batch), ", activations ", size_text(need.activations),
               ", packed weights ", size_text(need.packed), "); ", size_text(limit),
               " may be used: take a smaller batch (with more gradient accumulation) or shorter "
               "sequences"));
  }
  activations_.reset();
  if (for_backward) parameters_.ensure_gradients();
  next->allocate();
  activations_ = std::move(next);

  AskOnly ask;
  ops::Interceptor* const previous = std::exchange(interceptor_, &ask);
  Stream stream = make_stream();
  interceptor_ = previous;
  options_.executor->run([&] {
    encode_forward(stream);
    if (for_backward) {
      encode_head(stream, loss_, -1, 1, false);
      encode_backward(stream, false);
    } else {
      encode_loss(stream, loss_, -1, 1);
    }
  });
  scratch_->level();
}

void GPT::load(const int32_t* tokens, const int32_t* targets) {
  Stream stream = make_stream();
  stream.write(activations_->tokens, tokens);
  if (targets) stream.write(activations_->targets, targets);
}

bool GPT::is_multiplied(const Parameter& p) const {
  return p.spec.kind == ParameterKind::matrix || p.spec.kind == ParameterKind::residual_matrix ||
         &p == head_weight_;
}

void GPT::encode_prepare(Stream& stream, bool backward) const {
  for (const Parameter& p : parameters_.list()) {
    if (is_multiplied(p)) options_.backend->prepare_weight(stream, p.value, {true, backward});
  }
}

void GPT::encode_embedding(Stream& stream, const Tensor& x, const Tensor& tokens, int64_t sequences,
                           const Tensor& offsets) const {
  Stream::Scope scope(stream, "embed");
  ops::embedding_forward(stream, {x, tokens, tokens_->value});
  const Tensor view = x.reshape({sequences, x.dim(0) / sequences, x.dim(1)});
  for (const Tensor& table : {positions_ ? positions_->value : Tensor{}, sinusoids_}) {
    if (table.defined())
      ops::positional_embedding_add_forward(stream, {view, view, table, offsets});
  }
}

Tensor GPT::encode_final_norm(Stream& stream, const NormActivations& a,
                              const Residual& last) const {
  if (!norm_weight_) return last.stream;
  Stream::Scope scope(stream, "norm");
  ops::residual_layernorm_forward(
      stream, {a.out, a.sum, a.mean, a.rstd, last.branch, last.stream, norm_weight_->value,
               norm_bias_ ? norm_bias_->value : Tensor{}, static_cast<float>(config_.norm_eps)});
  return a.out;
}

void GPT::enter_section(int section) const {
  if (poison_) activations_->plan().poison_dead(section);
}

void GPT::encode_forward(Stream& stream) const {
  const Activations& a = *activations_;
  enter_section(a.forward_section());
  ops::for_each_chunk(stream, a.chunking(), section_mode_, [&](Stream& s, const Rows& r) {
    const Tensor x = a.embedded.rows(r.first_row, r.rows);
    encode_embedding(s, x, a.tokens.rows(r.first_row, r.rows), r.sequences, {});
    Residual residual{x, {}};
    for (size_t i = 0; i < blocks_.size(); ++i) {
      const BlockActivations rows = a.blocks[i].rows(r);
      residual =
          blocks_[i].forward(s, rows, residual, [&](Stream& inner, const BlockActivations& b) {
            blocks_[i].attend(inner, b, r.sequences);
          });
    }
    encode_final_norm(s, a.final_norm.rows(r), residual);
  });
}

void GPT::encode_loss(Stream& stream, const Tensor& loss, int64_t ignore_index, float scale) const {
  const Activations& a = *activations_;
  ops::linear_cross_entropy_forward(
      stream, {loss, a.hidden, head_weight(), a.targets, head_bias(), ignore_index, scale});
}

void GPT::encode_head(Stream& stream, const Tensor& loss, int64_t ignore_index, float scale,
                      bool accumulate) const {
  const Activations& a = *activations_;
  enter_section(a.head_section());
  ops::linear_cross_entropy_forward_backward(
      stream, {loss, a.d_hidden, head_weight_->grad, head_bias_ ? head_bias_->grad : Tensor{},
               a.hidden, head_weight(), a.targets, head_bias(), ignore_index, scale, accumulate});
}

void GPT::encode_backward(Stream& stream, bool accumulate) const {
  const Activations& a = *activations_;
  const int64_t chunk_rows = a.chunking().chunk_rows();
  const auto last = static_cast<int64_t>(blocks_.size()) - 1;
  for (int64_t layer = last; layer >= 0; --layer) {
    const auto i = static_cast<size_t>(layer);
    const BlockGradients g = a.gradients(layer);
    enter_section(a.block_section(layer));
    ops::for_each_chunk(stream, a.chunking(), section_mode_, [&](Stream& s, const Rows& r) {
      const BlockGradients rows = g.rows(r);
      if (layer == last && norm_weight_) {
        const NormActivations n = a.final_norm.rows(r);
        ops::residual_layernorm_backward_data(s, {rows.d_output,
                                                  n.d_gamma,
                                                  norm_bias_ ? n.d_beta : Tensor{},
                                                  a.d_hidden.rows(r.first_row, r.rows),
                                                  {},
                                                  n.sum,
                                                  norm_weight_->value,
                                                  n.mean,
                                                  n.rstd,
                                                  static_cast<float>(config_.norm_eps),
                                                  chunk_rows});
      } else if (layer == last) {
        ops::residual_add_backward(
            s, {rows.d_output, rows.d_branch, a.d_hidden.rows(r.first_row, r.rows)});
      }
      blocks_[i].backward_data(s, a.blocks[i].rows(r), rows, r.sequences, chunk_rows);
    });
    if (layer == last && norm_weight_) {
      ops::layernorm_backward_weights(
          stream, {norm_weight_->grad, norm_bias_ ? norm_bias_->grad : Tensor{},
                   a.final_norm.d_gamma, norm_bias_ ? a.final_norm.d_beta : Tensor{}, accumulate});
    }
    const Tensor below = i == 0 ? a.embedded : a.blocks[i - 1].norm2.out;
    blocks_[i].backward_weights(stream, a.blocks[i], g, {below, {}}, accumulate);
  }
  enter_section(a.embedding_section());
  const Tensor d_embedded = a.gradients(0).d_input;
  ops::embedding_backward(
      stream, {tokens_->grad, a.tokens, d_embedded, 0, accumulate || tokens_ == head_weight_});
  if (positions_) {
    const BatchShape& shape = a.shape();
    ops::positional_embedding_add_backward(
        stream, {positions_->grad,
                 d_embedded.reshape({shape.sequences, shape.length, config_.embedding_dim}), 0, 0,
                 accumulate});
  }
}

Tensor GPT::forward(const int32_t* tokens, BatchShape shape, Keep keep) {
  check_shape(shape);
  check_tokens(tokens, shape.rows());
  plan(shape, keep);
  load(tokens, nullptr);
  run([&](Stream& stream) {
    encode_prepare(stream, keep == Keep::for_backward);
    encode_forward(stream);
  });
  ready_for_backward_ = keep == Keep::for_backward;
  return activations_->hidden;
}

void GPT::logits(const Tensor& hidden, const Tensor& out) {
  run([&](Stream& stream) {
    options_.backend->prepare_weight(stream, head_weight(), {true, false});
    ops::linear_forward(stream, {out, {}, hidden, head_weight(), head_bias()});
  });
}

void GPT::backward_from_logits(const Tensor& d_logits, bool accumulate) {
  if (!ready_for_backward_) throw ValueError("backward needs a forward before it");
  const Activations& a = *activations_;
  if (d_logits.dim(0) != a.shape().rows() || d_logits.dim(1) != config_.vocab_size) {
    throw ValueError(concat("d_logits is ", to_string(d_logits), "; expected float32 (",
                            a.shape().rows(), ", ", config_.vocab_size, ")"));
  }
  ready_for_backward_ = false;
  Arena partials_arena(head_bias_ ? config_.vocab_size * size_of(DType::float32) : 0);
  const Tensor partials =
      head_bias_ ? partials_arena.allocate(DType::float32, {1, config_.vocab_size}) : Tensor{};
  run([&](Stream& stream) {
    options_.backend->prepare_weight(stream, head_weight(), {true, true});
    ops::linear_backward_data(stream, {a.d_hidden, {}, partials, d_logits, head_weight()});
    ops::linear_backward_weights(
        stream, {head_weight_->grad, head_bias_ ? head_bias_->grad : Tensor{}, a.hidden, d_logits,
                 partials, accumulate});
    encode_backward(stream, accumulate);
  });
}

void GPT::backward_from_hidden(const Tensor& d_hidden, bool accumulate) {
  if (!ready_for_backward_) throw ValueError("backward needs a forward before it");
  const Activations& a = *activations_;
  if (d_hidden.size() != a.d_hidden.size() || !d_hidden.contiguous()) {
    throw ValueError(
        concat("d_hidden is ", to_string(d_hidden), "; expected ", to_string(a.d_hidden)));
  }
  ready_for_backward_ = false;
  run([&](Stream& stream) {
    stream.write(a.d_hidden, d_hidden.data<void>());
    if (!accumulate) {
      ops::zero(stream, {head_weight_->grad.reshape({head_weight_->grad.size()})});
      if (head_bias_) ops::zero(stream, {head_bias_->grad});
    }
    encode_backward(stream, accumulate);
  });
}

float GPT::forward_backward(const int32_t* tokens, const int32_t* targets, BatchShape shape,
                            bool accumulate, double normalizer, int64_t ignore_index) {
  check_shape(shape);
  check_tokens(tokens, shape.rows());
  const int64_t counted = check_targets(targets, shape.rows(), ignore_index);
  if (!(normalizer >= 0) || !std::isfinite(normalizer)) {
    throw ValueError(concat("normalizer is ", normalizer, "; it takes a number above 0"));
  }
  plan(shape, Keep::for_backward);
  load(tokens, targets);
  const double divisor =
      normalizer > 0 ? normalizer : static_cast<double>(std::max<int64_t>(counted, 1));
  run([&](Stream& stream) {
    encode_prepare(stream, true);
    encode_forward(stream);
    encode_head(stream, loss_, ignore_index, static_cast<float>(1 / divisor), accumulate);
    encode_backward(stream, accumulate);
  });
  float loss = 0;
  make_stream().read(loss_, &loss);
  return loss;
}

double GPT::evaluate_sum(const int32_t* tokens, const int32_t* targets, BatchShape shape,
                         int64_t ignore_index) {
  check_shape(shape);
  check_tokens(tokens, shape.rows());
  check_targets(targets, shape.rows(), ignore_index);
  plan(shape, Keep::nothing);
  load(tokens, targets);
  run([&](Stream& stream) {
    encode_prepare(stream, false);
    encode_forward(stream);
    encode_loss(stream, loss_, ignore_index, 1);
  });
  float loss = 0;
  make_stream().read(loss_, &loss);
  return double{loss};
}

}  // namespace msltx::model
