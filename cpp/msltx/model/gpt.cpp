#include "msltx/model/gpt.h"

#include <algorithm>
#include <cmath>

#include "msltx/base/error.h"
#include "msltx/ops/ops.h"

namespace msltx::model {
namespace {

using ops::Rows;
using ops::Stream;

}  // namespace

GPT::GPT(GPTConfig config, uint64_t seed, const GPTOptions& options)
    : config_(complete(std::move(config))),
      options_(options),
      parameters_([&]() -> const GPTConfig& {
        if (options_.dtype != DType::float32 && options_.dtype != DType::bfloat16) {
          throw ValueError(concat("dtype is ", name_of(options_.dtype),
                                  "; a model computes in float32 or bfloat16"));
        }
        if (!options_.backend) options_.backend = &ops::default_backend();
        if (!options_.executor) options_.executor = &Executor::global();
        check_parameters_fit();
        return config_;
      }()),
      positions_(config_),
      relative_bias_(parameters_),
      embedding_(config_, parameters_),
      head_(config_, parameters_) {
  for (int64_t layer = 0; layer < config_.num_layers; ++layer) {
    blocks_.emplace_back(config_, parameters_, layer, positions_);
  }
  if (config_.has_final_norm()) norm_ = NormLayer(config_, parameters_, "norm");
  loss_arena_ = Arena(Arena::kAlignment);
  loss_ = loss_arena_.allocate(DType::float32, {1});
  if (options_.initialize) initialize(parameters_, config_, seed);
  set_diagnostic(options_.diagnostic.value_or(ops::diagnostic_by_environment()));
}

void GPT::set_diagnostic(bool on) {
  if (on == is_diagnostic()) return;
  diagnostic_.reset();
  if (on) {
    diagnostic_ = std::make_unique<ops::Diagnostic>(
        [this](const void* address) { return parameter_at(address); });
    diagnostic_->set_step(step_number_);
  }
  interceptor_ = diagnostic_.get();
}

std::string GPT::parameter_at(const void* address) const {
  const auto* at = static_cast<const char*>(address);
  const auto lies_in = [&](const Tensor& whole) {
    return whole.defined() && at >= whole.data<char>() && at < whole.data<char>() + whole.bytes();
  };
  for (const Parameter& p : parameters_.list()) {
    if (lies_in(p.value)) return p.spec.name;
    if (lies_in(p.grad)) return concat("gradient of ", p.spec.name);
  }
  return "";
}

Stream GPT::make_stream() { return make_stream_with(interceptor_); }

Stream GPT::make_stream_with(ops::Interceptor* interceptor) {
  const int threads = options_.executor->threads();
  if (!scratch_ || scratch_->workers() != threads)
    scratch_ = std::make_unique<ops::Scratch>(threads);
  return Stream(*options_.backend, *options_.executor, *scratch_, interceptor);
}

void GPT::run(const std::function<void(Stream&)>& encode) {
  options_.executor->run([&] {
    Stream stream = make_stream();
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

Pass GPT::load(const int32_t* tokens, const int32_t* targets, const Draw& draw,
               const int32_t* documents) {
  Stream stream = make_stream();
  stream.write(activations_->tokens, tokens);
  if (targets) stream.write(activations_->targets, targets);
  if (documents) load_documents(documents);
  return {draw, documents != nullptr};
}

void GPT::load_documents(const int32_t* documents) {
  const auto [B, T] = activations_->shape();
  std::vector<int32_t> starts(static_cast<size_t>(B * T));
  for (int64_t i = 0; i < B * T; ++i) {
    const bool begins = i % T == 0 || documents[i] != documents[i - 1];
    const auto at = static_cast<size_t>(i);
    starts[at] = begins ? static_cast<int32_t>(i % T) : starts[at - 1];
  }
  make_stream().write(activations_->document_starts, starts.data());
}

bool GPT::is_multiplied(const Parameter& p) const {
  return p.spec.kind == ParameterKind::matrix || p.spec.kind == ParameterKind::residual_matrix ||
         head_.multiplies(p);
}

DType GPT::product_type(const Parameter& p) const {
  if (p.spec.name == "embed.project.weight") return DType::float32;  // on the residual stream
  return head_.multiplies(p) && head_.narrow_dim() == 0 ? hidden_type() : dtype();
}

void GPT::encode_prepare(Stream& stream, bool backward) const {
  for (const Parameter& p : parameters_.list()) {
    if (is_multiplied(p)) {
      options_.backend->prepare_weight(stream, p.value, {true, backward, product_type(p)});
    }
  }
}

void GPT::encode_embedding(Stream& stream, const EmbeddingActivations& a, const Tensor& x,
                           const Tensor& tokens, const BatchPart& part,
                           const Tensor& offsets) const {
  Stream::Scope scope(stream, "embed");
  embedding_.forward(stream, a, x, tokens, part, offsets);
}

void GPT::encode_relative_bias(Stream& stream, const Tensor& out) const {
  Stream::Scope scope(stream, "embed.relative");
  if (relative_bias_.exists()) relative_bias_.forward(stream, out);
}

Tensor GPT::encode_final_norm(Stream& stream, const NormActivations& a,
                              const Residual& last) const {
  if (!norm_.exists()) return last.stream;
  Stream::Scope scope(stream, "norm");
  norm_.add_forward(stream, a, last.branch, last.stream);
  return a.out;
}

void GPT::enter_section(int section) const {
  if (poison_) activations_->plan().poison_dead(section);
}

void GPT::encode_forward(Stream& stream, const Pass& pass) const {
  const Activations& a = *activations_;
  enter_section(a.forward_section());
  encode_relative_bias(stream, a.relative_bias);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    blocks_[i].encode_distances(stream, a.blocks[i].attention.core.distances);
  }
  ops::for_each_chunk(stream, a.chunking(), section_mode_, [&](Stream& s, const Rows& r) {
    const BatchPart part = BatchPart::of(r, pass, a.document_starts);
    const Tensor x = a.embedded.rows(r.first_row, r.rows);
    encode_embedding(s, a.embedding.rows(r), x, cut(a.tokens, r), part, {});
    Residual residual{x, {}};
    for (size_t i = 0; i < blocks_.size(); ++i) {
      residual = blocks_[i].forward(s, a.blocks[i].rows(r), residual, part);
    }
    encode_final_norm(s, a.final_norm.rows(r), residual);
  });
}

void GPT::encode_loss(Stream& stream, const Tensor& loss, int64_t ignore_index, float scale) const {
  const Activations& a = *activations_;
  Stream::Scope scope(stream, "head");
  head_.loss(stream, a.head, loss, a.hidden, a.targets, {ignore_index, scale});
}

void GPT::encode_head(Stream& stream, const Tensor& loss, int64_t ignore_index, float scale,
                      bool accumulate) const {
  const Activations& a = *activations_;
  enter_section(a.head_section());
  Stream::Scope scope(stream, "head");
  head_.loss_backward(stream, a.head, loss, a.d_hidden, a.hidden, a.targets, {ignore_index, scale},
                      accumulate);
}

void GPT::encode_logits(Stream& stream, const Tensor& out, const Tensor& hidden,
                        const Tensor& narrow) const {
  Stream::Scope scope(stream, "head");
  head_.logits(stream, out, hidden, narrow);
}

void GPT::encode_backward(Stream& stream, bool accumulate, const Pass& pass) const {
  const Activations& a = *activations_;
  const int64_t chunk_rows = a.chunking().chunk_rows();
  const BatchPart batch = BatchPart::of(a.chunking().all(), pass, a.document_starts);
  const auto last = static_cast<int64_t>(blocks_.size()) - 1;
  for (int64_t layer = last; layer >= 0; --layer) {
    const auto i = static_cast<size_t>(layer);
    const BlockGradients g = a.gradients(layer);
    enter_section(a.block_section(layer));
    ops::for_each_chunk(stream, a.chunking(), section_mode_, [&](Stream& s, const Rows& r) {
      const BlockGradients rows = g.rows(r);
      if (layer == last) {
        const Tensor d_hidden = a.d_hidden.rows(r.first_row, r.rows);
        if (norm_.exists()) {
          norm_.backward_data(s, a.final_norm.rows(r), rows.d_output(), d_hidden, {}, chunk_rows);
        } else {
          ops::residual_add_backward(s, {rows.d_output(), rows.feed_forward_join.d_in, d_hidden});
        }
      }
      blocks_[i].backward_data(s, a.blocks[i].rows(r), rows,
                               BatchPart::of(r, pass, a.document_starts), chunk_rows);
    });
    if (layer == last && norm_.exists()) norm_.backward_weights(stream, a.final_norm, accumulate);
    blocks_[i].backward_weights(stream, a.blocks[i], g, a.stream_into(layer), batch, accumulate);
  }
  enter_section(a.embedding_section());
  Stream::Scope scope(stream, "embed");
  embedding_.backward(stream, a.embedding, a.gradients(0).d_input(), a.tokens, batch, accumulate);
  if (relative_bias_.exists()) relative_bias_.backward(stream, a.d_relative_bias, accumulate);
}

Tensor GPT::forward(const int32_t* tokens, BatchShape shape, Keep keep, const Draw& draw,
                    const int32_t* documents) {
  check_shape(shape);
  check_tokens(tokens, shape.rows());
  plan(shape, keep);
  const Pass pass = load(tokens, nullptr, draw, documents);
  run([&](Stream& stream) {
    encode_prepare(stream, keep == Keep::for_backward);
    encode_forward(stream, pass);
  });
  last_pass_ = pass;
  ready_for_backward_ = keep == Keep::for_backward;
  return activations_->hidden;
}

void GPT::logits(const Tensor& hidden, const Tensor& out) {
  const int64_t N = hidden.dim(0), E = head_.narrow_dim();
  Arena arena(Arena::aligned(N * E * size_of(DType::float32)));
  const Tensor narrow = E > 0 ? arena.allocate(dtype(), {N, E}) : Tensor{};
  run([&](Stream& stream) {
    for (const Parameter& p : parameters_.list()) {
      if (head_.multiplies(p)) {
        options_.backend->prepare_weight(stream, p.value, {true, false, product_type(p)});
      }
    }
    encode_logits(stream, out, hidden, narrow);
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
  const LogitsScratch scratch = head_.logits_scratch(a.shape().rows());
  run([&](Stream& stream) {
    encode_prepare(stream, true);
    {
      Stream::Scope scope(stream, "head");
      head_.logits_backward(stream, a.head, scratch, a.d_hidden, a.hidden, d_logits, accumulate);
    }
    encode_backward(stream, accumulate, last_pass_);
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
    if (!accumulate) head_.zero_gradients(stream);
    encode_backward(stream, accumulate, last_pass_);
  });
}

float GPT::forward_backward(const int32_t* tokens, const int32_t* targets, BatchShape shape,
                            bool accumulate, double normalizer, int64_t ignore_index,
                            const Draw& draw, const int32_t* documents) {
  check_shape(shape);
  check_tokens(tokens, shape.rows());
  const int64_t counted = check_targets(targets, shape.rows(), ignore_index);
  if (!(normalizer >= 0) || !std::isfinite(normalizer)) {
    throw ValueError(concat("normalizer is ", normalizer, "; it takes a number above 0"));
  }
  plan(shape, Keep::for_backward);
  const Pass pass = load(tokens, targets, draw, documents);
  const double divisor =
      normalizer > 0 ? normalizer : static_cast<double>(std::max<int64_t>(counted, 1));
  run([&](Stream& stream) {
    encode_prepare(stream, true);
    encode_forward(stream, pass);
    encode_head(stream, loss_, ignore_index, static_cast<float>(1 / divisor), accumulate);
    encode_backward(stream, accumulate, pass);
  });
  float loss = 0;
  make_stream().read(loss_, &loss);
  return loss;
}

double GPT::evaluate_sum(const int32_t* tokens, const int32_t* targets, BatchShape shape,
                         int64_t ignore_index, const int32_t* documents) {
  check_shape(shape);
  check_tokens(tokens, shape.rows());
  check_targets(targets, shape.rows(), ignore_index);
  plan(shape, Keep::nothing);
  const Pass pass = load(tokens, targets, {}, documents);
  run([&](Stream& stream) {
    encode_prepare(stream, false);
    encode_forward(stream, pass);
    encode_loss(stream, loss_, ignore_index, 1);
  });
  float loss = 0;
  make_stream().read(loss_, &loss);
  return double{loss};
}

}  // namespace msltx::model
