// TrainStep: one optimizer step in one call. It fetches the step's sequences, runs them in
// micro-batches, and updates the parameters; gradients, norm, the decision to skip and the update
// are all encoded before the one wait.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "msltx/model/gpt.h"
#include "msltx/optim/adamw.h"
#include "msltx/optim/schedule.h"

namespace msltx::train {

// Fills tokens and targets (sequences x length, int32) of a step, counted from 0, and where
// `documents` is not null the number of each token's document within its row. The same step must
// always give the same sequences.
using BatchSource =
    std::function<void(int64_t step, int32_t* tokens, int32_t* targets, int32_t* documents)>;

struct StepShape {
  model::BatchShape micro_batch;
  int64_t gradient_accumulation = 1;  // micro-batches per step
  bool inside_documents = false;      // attention stays inside the documents of a row
  int64_t sequences() const { return micro_batch.sequences * gradient_accumulation; }
  int64_t tokens() const { return micro_batch.rows() * gradient_accumulation; }
};

struct StepResult {
  int64_t step = 0;      // counted from 0
  double loss = 0;       // mean over the step's counted targets
  double grad_norm = 0;  // before clipping
  double learning_rate = 0;
  int64_t counted = 0;   // targets that were counted
  bool skipped = false;  // loss or norm not finite, or nothing counted: no parameter changed
};

class TrainStep {
 public:
  // `model` must outlive the step. `seed` is that of the numbers dropout draws. Plans memory:
  // throws MemoryLimitError where it does not fit.
  TrainStep(model::GPT& model, const StepShape& shape, const optim::AdamWOptions& optimizer,
            const optim::Schedule& schedule, BatchSource source, int64_t ignore_index = -1,
            uint64_t seed = 0);

  // The next step. Cancelled leaves parameters, moments and cursor as they were unless the
  // optimizer had begun, in which case the step is finished first.
  StepResult run();

  model::GPT& model() { return model_; }
  optim::AdamW& optimizer() { return optimizer_; }
  const optim::Schedule& schedule() const { return schedule_; }
  const StepShape& shape() const { return shape_; }
  // The data cursor: the step that run() takes next.
  int64_t next_step() const { return next_step_; }
  void set_next_step(int64_t step) { next_step_ = step; }
  // Encodes and waits of the last run().
  const ops::StreamCounts& counts() const { return counts_; }

 private:
  void encode_gradients(ops::Stream& stream, float scale);

  model::GPT& model_;
  StepShape shape_;
  optim::AdamW optimizer_;
  optim::Schedule schedule_;
  BatchSource source_;
  int64_t ignore_index_;
  uint64_t seed_;
  int64_t next_step_ = 0;
  std::vector<int32_t> tokens_, targets_, documents_;
  Arena loss_arena_;
  Tensor losses_;  // one per micro-batch
  ops::StreamCounts counts_;
};

}  // namespace msltx::train
