// What a model holds and what a batch will need: the plan that is made, or refused with advice,
// before the first step.
#include <algorithm>
#include <utility>

#include "msltx/base/error.h"
#include "msltx/base/memory.h"
#include "msltx/model/gpt.h"
#include "msltx/ops/ops.h"

namespace msltx::model {
namespace {

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

// Tables of positions that are computed, not learned.
int64_t table_bytes(const GPTConfig& config) {
  return Embedding::constant_bytes(config) + PositionTables::bytes(config);
}

// Lets an encoding run without its ops, so that scratch is reserved before the first step.
struct AskOnly : ops::Interceptor {
  bool runs_ops() const override { return false; }
};

void check_fits(const MemoryReport& need, int64_t limit, BatchShape shape, bool for_backward) {
  if (need.total() <= limit) return;
  throw MemoryLimitError(
      concat("a batch of ", shape.sequences, " x ", shape.length, " tokens needs ",
             size_text(need.total()), " (parameters ", size_text(need.parameters), ", gradients ",
             size_text(need.gradients), ", optimizer ", size_text(need.optimizer), ", batch ",
             size_text(need.batch), ", activations ", size_text(need.activations), ", scratch ",
             size_text(need.scratch), ", packed weights ", size_text(need.packed), "); ",
             size_text(limit), " may be used: take a smaller batch",
             for_backward ? " (with more gradient accumulation)" : "", " or shorter sequences"));
}

}  // namespace

void GPT::check_parameters_fit() const {
  const int64_t parameters = parameter_arena_bytes(config_), tables = table_bytes(config_);
  const int64_t limit = options_.memory_limit > 0 ? options_.memory_limit : available_memory();
  if (parameters <= limit - tables) return;
  throw MemoryLimitError(
      concat("the model's ", with_separators(parameter_count(config_)), " parameters take ",
             size_text(parameters),
             tables > 0 ? concat(", its tables of positions ", size_text(tables)) : "", "; ",
             size_text(limit), " of memory may be used"));
}

MemoryReport GPT::memory() const {
  MemoryReport report;
  report.parameters = parameter_arena_bytes(config_) + table_bytes(config_);
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
  // The model's own only once it is accepted: a plan that is refused weighs on no later one.
  step.optimizer = std::max(step_.optimizer, step.optimizer);
  step.batch = std::max(step_.batch, step.batch);
  auto next = std::make_unique<Activations>(config_, shape, keep, dtype());

  MemoryReport need = memory();
  const int64_t held = need.total();  // of the step before, too: this one takes its place
  if (for_backward) need.gradients = parameter_arena_bytes(config_);
  need.optimizer = step.optimizer;
  need.batch = step.batch;
  need.activations = next->plan().bytes();
  need.scratch = 0;  // known once the ops are asked, which takes memory to point at
  need.packed = 0;
  for (const Parameter& p : parameters_.list()) {
    if (is_multiplied(p)) {
      need.packed +=
          options_.backend->prepared_bytes(p.value, {true, for_backward, product_type(p)});
    }
  }
  const int64_t limit =
      options_.memory_limit > 0 ? options_.memory_limit : available_memory_after_freeing(held);
  check_fits(need, limit, shape, for_backward);

  const bool had_gradients = parameters_.has_gradients();
  activations_.reset();
  scratch_.reset();
  try {
    if (for_backward) parameters_.ensure_gradients();
    next->allocate();
    activations_ = std::move(next);
    reserve_scratch(for_backward);
    need.scratch = scratch_->bytes();
    check_fits(need, limit, shape, for_backward);
  } catch (...) {
    activations_.reset();
    scratch_.reset();
    if (!had_gradients) parameters_.release_gradients();
    throw;
  }
  step_ = step;
}

void GPT::reserve_scratch(bool for_backward) {
  AskOnly ask;
  options_.executor->run([&] {
    // First, or each product would ask for room to pack its weight in.
    ops::Stream preparing = make_stream_with(nullptr);
    encode_prepare(preparing, for_backward);
    ops::Stream stream = make_stream_with(&ask);
    const Pass pass{.draw = {.on = for_backward}, .inside_documents = true};
    encode_forward(stream, pass);
    if (for_backward) {
      encode_head(stream, loss_, -1, 1, false);
      encode_backward(stream, false, pass);
    } else {
      encode_loss(stream, loss_, -1, 1);
    }
  });
  scratch_->level();
}

}  // namespace msltx::model
