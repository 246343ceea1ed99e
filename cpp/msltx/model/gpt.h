// GPT: the decoder-only Transformer. Calls of users (forward, forward_backward, evaluate ...) each
// run as one job; the encode_* calls are what TrainStep and the decoder are made of.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "msltx/base/exclusive.h"
#include "msltx/model/activations.h"
#include "msltx/model/block.h"
#include "msltx/model/config.h"
#include "msltx/model/embedding.h"
#include "msltx/model/head.h"
#include "msltx/model/parameters.h"
#include "msltx/model/relative_bias.h"
#include "msltx/ops/chunks.h"
#include "msltx/ops/diagnostic.h"
#include "msltx/ops/stream.h"

namespace msltx::model {

struct GPTOptions {
  DType dtype = DType::float32;           // compute type
  const ops::Backend* backend = nullptr;  // nullptr: ops::default_backend()
  Executor* executor = nullptr;           // nullptr: Executor::global()
  bool initialize = true;                 // false: values are zero until they are restored
  int64_t memory_limit = 0;               // bytes for all that is planned; 0: what is available
  std::optional<bool> diagnostic{};       // checks every op; not given: MSLTX_DIAGNOSTIC
};

// Bytes by purpose. What is planned, not what is resident.
struct MemoryReport {
  int64_t parameters = 0, gradients = 0, optimizer = 0, batch = 0, activations = 0, scratch = 0,
          packed = 0;
  int64_t total() const {
    return parameters + gradients + optimizer + batch + activations + scratch + packed;
  }
};

// Bytes that a training step holds outside of the model.
struct StepBytes {
  int64_t optimizer = 0;  // moments
  int64_t batch = 0;      // token ids and targets of all its micro-batches
};

class GPT {
 public:
  // Values drawn from (seed, parameter name). Throws ValueError for a configuration that cannot be,
  // MemoryLimitError where the parameters alone do not fit.
  explicit GPT(GPTConfig config, uint64_t seed = 0, const GPTOptions& options = {});

  const GPTConfig& config() const { return config_; }
  Parameters& parameters() { return parameters_; }
  const Parameters& parameters() const { return parameters_; }
  DType dtype() const { return options_.dtype; }
  // Of what forward() gives: the result of the last norm, or else the residual stream.
  DType hidden_type() const { return norm_.exists() ? dtype() : DType::float32; }
  const ops::Backend& backend() const { return *options_.backend; }
  Executor& executor() const { return *options_.executor; }
  int64_t num_parameters() const { return parameter_count(config_); }
  Exclusive& exclusive() { return exclusive_; }

  void set_section_mode(ops::SectionMode mode) { section_mode_ = mode; }
  // Fills activations with NaN outside their declared lives: a check of the memory plan.
  void set_poison(bool on) { poison_ = on; }
  // Gives the one before.
  ops::Interceptor* set_interceptor(ops::Interceptor* interceptor) {
    return std::exchange(interceptor_, interceptor);
  }
  ops::Interceptor* interceptor() const { return interceptor_; }
  bool is_diagnostic() const { return diagnostic_ != nullptr; }
  // In place of what set_interceptor() has installed.
  void set_diagnostic(bool on);
  // The step, counted from 1, that errors of diagnostic mode name from here on.
  void set_step(int64_t step) {
    step_number_ = step;
    if (diagnostic_) diagnostic_->set_step(step);
  }

  // With `documents` (B, T), the number of each token's document within its row, attention stays
  // inside documents; absolute positions count from the beginning of the row all the same.
  //
  // Trunk: tokens (B, T) to hidden (B T, C), the input of the output projection. The result stays
  // valid until the next call. With Keep::for_backward, backward() may follow.
  Tensor forward(const int32_t* tokens, BatchShape shape, Keep keep = Keep::for_backward,
                 const Draw& draw = {}, const int32_t* documents = nullptr);
  // Head: hidden (N, C) to logits (N, V).
  void logits(const Tensor& hidden, const Tensor& out);
  // From the gradient of the logits (N, V), or of hidden (N, C), of the last forward() to all
  // gradients, which are overwritten, or added to.
  void backward_from_logits(const Tensor& d_logits, bool accumulate);
  void backward_from_hidden(const Tensor& d_hidden, bool accumulate);

  // The loss and its gradients; the loss is the sum over counted targets divided by `normalizer`,
  // or by their number where it is 0. A batch without a counted target gives 0 and zero gradients.
  // Something is dropped only with a draw.
  float forward_backward(const int32_t* tokens, const int32_t* targets, BatchShape shape,
                         bool accumulate, double normalizer, int64_t ignore_index = -1,
                         const Draw& draw = {}, const int32_t* documents = nullptr);
  // Sum of the losses over counted targets.
  double evaluate_sum(const int32_t* tokens, const int32_t* targets, BatchShape shape,
                      int64_t ignore_index = -1, const int32_t* documents = nullptr);

  // Reserves what a batch of this shape needs, scratch included. What `step` has counts
  // against the limit. Throws MemoryLimitError with advice. backward() then needs another
  // forward().
  void plan(BatchShape shape, Keep keep, StepBytes step = {});
  MemoryReport memory() const;
  Activations& activations() { return *activations_; }

  // Encoding: tokens and targets of the planned shape must have been written to activations(). The
  // backward takes the pass of its forward.
  // make_stream() is called within a job: before one, the number of threads may still change.
  ops::Stream make_stream();
  void encode_prepare(ops::Stream& stream, bool backward) const;
  void encode_forward(ops::Stream& stream, const Pass& pass = {}) const;
  void encode_loss(ops::Stream& stream, const Tensor& loss, int64_t ignore_index,
                   float scale) const;
  // The loss, d_hidden and the head's gradients.
  void encode_head(ops::Stream& stream, const Tensor& loss, int64_t ignore_index, float scale,
                   bool accumulate) const;
  // From activations().d_hidden to the gradients of the trunk. The head's gradients must be there:
  // a tied embedding adds to them.
  void encode_backward(ops::Stream& stream, bool accumulate, const Pass& pass = {}) const;

  // Writes activations().document_starts from the number of each token's document within its row
  // (B, T): a document goes on where the number does.
  void load_documents(const int32_t* documents);

  // Throws ValueError naming the first token outside [0, vocab_size).
  void check_tokens(const int32_t* tokens, int64_t count) const;
  // Likewise, `ignore_index` allowed. Returns how many targets are counted.
  int64_t check_targets(const int32_t* targets, int64_t count, int64_t ignore_index) const;

  // For generation.
  const std::vector<Block>& blocks() const { return blocks_; }
  // x (N, C) from tokens (N); the first token of each sequence stands at offsets[b], or at 0.
  void encode_embedding(ops::Stream& stream, const EmbeddingActivations& a, const Tensor& x,
                        const Tensor& tokens, const BatchPart& part, const Tensor& offsets) const;
  // With positions relative_t5: the bias (nh, T, S) of queries at the last T of S places.
  void encode_relative_bias(ops::Stream& stream, const Tensor& out) const;
  // hidden (N, C) to out (N, V); `narrow` (N, narrow_dim()) is scratch where that is not 0.
  void encode_logits(ops::Stream& stream, const Tensor& out, const Tensor& hidden,
                     const Tensor& narrow) const;
  int64_t narrow_dim() const { return head_.narrow_dim(); }
  // The last normalization, where the placement has one; gives what the head reads.
  Tensor encode_final_norm(ops::Stream& stream, const NormActivations& a,
                           const Residual& last) const;

  // Runs encode(stream) as one job and waits for it once.
  void run(const std::function<void(ops::Stream&)>& encode);

 private:
  // make_stream() with another interceptor than the model's, or none.
  ops::Stream make_stream_with(ops::Interceptor* interceptor);
  // Whether it is a factor of a matrix product, which a backend may keep a form of.
  bool is_multiplied(const Parameter& p) const;
  DType product_type(const Parameter& p) const;  // the compute type of its products
  // The parameter, or its gradient, that an address lies in; "" for any other.
  std::string parameter_at(const void* address) const;
  void check_parameters_fit() const;
  void reserve_scratch(bool for_backward);
  void check_shape(BatchShape shape) const;
  void enter_section(int section) const;
  Pass load(const int32_t* tokens, const int32_t* targets, const Draw& draw,
            const int32_t* documents);

  GPTConfig config_;
  GPTOptions options_;
  Parameters parameters_;
  PositionTables positions_;
  RelativeBias relative_bias_;
  Embedding embedding_;
  std::vector<Block> blocks_;
  NormLayer norm_;
  Head head_;
  Tensor loss_;  // (1), for calls of users
  Arena loss_arena_;

  ops::SectionMode section_mode_ = ops::SectionMode::automatic;
  std::unique_ptr<ops::Diagnostic> diagnostic_;
  int64_t step_number_ = 1;
  ops::Interceptor* interceptor_ = nullptr;
  std::unique_ptr<ops::Scratch> scratch_;
  std::unique_ptr<Activations> activations_;
  StepBytes step_;
  bool ready_for_backward_ = false;
  Pass last_pass_;  // of the forward that the next backward belongs to
  bool poison_ = false;
  Exclusive exclusive_;
};

}  // namespace msltx::model
