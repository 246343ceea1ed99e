#include "msltx/train/train_step.h"

#include <algorithm>
#include <numeric>

#include "msltx/base/error.h"

namespace msltx::train {
namespace {

// Keeps every product of sizes far below 2^63; memory sets the real limit.
constexpr int64_t kMostTokens = int64_t{1} << 40;

StepShape checked(const StepShape& shape) {
  if (shape.micro_batch.sequences < 1) {
    throw ValueError(concat("batch_size is ", shape.micro_batch.sequences, "; it takes 1 or more"));
  }
  if (shape.gradient_accumulation < 1) {
    throw ValueError(concat("gradient_accumulation_steps is ", shape.gradient_accumulation,
                            "; it takes 1 or more"));
  }
  const double tokens = static_cast<double>(shape.micro_batch.sequences) *
                        static_cast<double>(shape.micro_batch.length) *
                        static_cast<double>(shape.gradient_accumulation);
  if (tokens > static_cast<double>(kMostTokens)) {
    throw ValueError(concat("a step of batch_size ", shape.micro_batch.sequences,
                            ", gradient_accumulation_steps ", shape.gradient_accumulation,
                            " and sequences of ", shape.micro_batch.length,
                            " tokens is larger than the limit, ", kMostTokens, " tokens"));
  }
  return shape;
}

}  // namespace

TrainStep::TrainStep(model::GPT& model, const StepShape& shape,
                     const optim::AdamWOptions& optimizer, const optim::Schedule& schedule,
                     BatchSource source, int64_t ignore_index, uint64_t seed)
    : model_(model),
      shape_(checked(shape)),
      optimizer_(model.parameters().values().dim(0), model.parameters().decayed(), optimizer),
      schedule_(schedule),
      source_(std::move(source)),
      ignore_index_(ignore_index),
      seed_(seed) {
  optim::check(schedule);
  // Planned before it is allocated, so that a step too large for memory is refused with advice.
  const int64_t arrays = shape.inside_documents ? 3 : 2;
  const int64_t ids = arrays * shape.tokens() * size_of(DType::int32);
  model_.plan(shape.micro_batch, model::Keep::for_backward,
              {.optimizer = optim::AdamW::bytes(model.parameters().values().dim(0)), .batch = ids});
  tokens_.resize(static_cast<size_t>(shape.tokens()));
  targets_.resize(static_cast<size_t>(shape.tokens()));
  if (shape.inside_documents) documents_.resize(static_cast<size_t>(shape.tokens()));
  loss_arena_ = Arena(shape.gradient_accumulation * size_of(DType::float32));
  losses_ = loss_arena_.allocate(DType::float32, {shape.gradient_accumulation});
}

void TrainStep::encode_gradients(ops::Stream& stream, float scale) {
  const int64_t rows = shape_.micro_batch.rows();
  model_.encode_prepare(stream, true);
  for (int64_t i = 0; i < shape_.gradient_accumulation; ++i) {
    const model::Pass pass{.draw = {.on = true,
                                    .seed = seed_,
                                    .step = next_step_,
                                    .first_sequence = i * shape_.micro_batch.sequences},
                           .inside_documents = shape_.inside_documents};
    const model::Activations& a = model_.activations();
    stream.write(a.tokens, tokens_.data() + i * rows);
    stream.write(a.targets, targets_.data() + i * rows);
    if (pass.inside_documents) model_.load_documents(documents_.data() + i * rows);
    model_.encode_forward(stream, pass);
    model_.encode_head(stream, losses_.slice(0, i, 1), ignore_index_, scale, i > 0);
    model_.encode_backward(stream, i > 0, pass);
  }
}

StepResult TrainStep::run() {
  Exclusive::Guard guard(model_.exclusive(), "the model");
  model_.plan(shape_.micro_batch, model::Keep::for_backward);
  source_(next_step_, tokens_.data(), targets_.data(),
          shape_.inside_documents ? documents_.data() : nullptr);
  model_.check_tokens(tokens_.data(), shape_.tokens());

  StepResult result;
  result.step = next_step_;
  result.learning_rate = schedule_.at(next_step_);
  result.counted = model_.check_targets(targets_.data(), shape_.tokens(), ignore_index_);
  const float scale = 1.0f / static_cast<float>(std::max<int64_t>(1, result.counted));

  model_.set_step(next_step_ + 1);
  model_.executor().run([&] {
    ops::Stream stream = model_.make_stream();
    encode_gradients(stream, scale);
    optimizer_.encode(stream, model_.parameters().values(), model_.parameters().gradients(),
                      losses_, static_cast<float>(result.learning_rate), result.counted == 0);
    stream.submit();
    stream.wait();
    counts_ = stream.counts();
  });

  const ops::Stream stream = model_.make_stream();
  std::vector<float> losses(static_cast<size_t>(shape_.gradient_accumulation));
  float norm = 0, skip = 0;
  stream.read(losses_, losses.data());
  stream.read(optimizer_.norm(), &norm);
  stream.read(optimizer_.skip(), &skip);
  result.loss = std::accumulate(losses.begin(), losses.end(), 0.0);
  result.grad_norm = double{norm};
  result.skipped = skip != 0;
  optimizer_.finish(result.skipped);
  model_.parameters().changed();
  ++next_step_;
  return result;
}

}  // namespace msltx::train
