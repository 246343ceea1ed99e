// Batches: what a training step sees, addressed by (seed, step), and what an evaluation sees, in
// order. Any step is made at once, which is what exact resume needs.
//
// Letters: B sequences a batch, T tokens a sequence. tokens, targets and documents are int32 [B, T]
// row-major; targets[b, t] is the token after tokens[b, t], or kIgnore where there is none.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "msltx/data/dataset.h"
#include "msltx/data/sequences.h"

namespace msltx::data {

struct BatchShape {
  int64_t batch_size = 1;  // B
  int64_t length = 1;      // T
  int32_t pad_id = 0;      // fills tokens where a text is shorter than T
};

void check(const BatchShape& shape);  // throws ValueError for sizes below 1 and above 2^31

class Batches {
 public:
  // Shuffled windows of T + 1 tokens. An epoch has each of its windows once; where they begin is
  // drawn anew for every epoch, so that over the epochs texts are cut at different places. The
  // split must outlive this. Throws ValueError for a split of fewer than two tokens.
  Batches(const TokenSplit& split, const BatchShape& shape, uint64_t seed);
  // Rows of any kind, made for the same T.
  Batches(std::shared_ptr<const Sequences> sequences, const BatchShape& shape);

  const BatchShape& shape() const { return shape_; }
  int64_t per_epoch() const { return sequences_->per_epoch(); }  // sequences

  // The batch of `step`, from 0 on: the arrays have B * T places. `documents` may be null.
  void fill(int64_t step, int32_t* tokens, int32_t* targets, int32_t* documents = nullptr) const;
  // `count` sequences from the `first`-th of the run on. Step s of batch size B is sequences s * B
  // to s * B + B - 1, so micro-batches see what one large batch sees.
  void fill_sequences(int64_t first, int64_t count, int32_t* tokens, int32_t* targets,
                      int32_t* documents = nullptr) const;

 private:
  std::shared_ptr<const Sequences> sequences_;
  BatchShape shape_;
};

// Windows one after the other that cover a split once: every token but the first is a target once.
class EvalBatches {
 public:
  EvalBatches(const TokenSplit& split, const BatchShape& shape);  // throws as Batches does

  const BatchShape& shape() const { return shape_; }
  int64_t batches() const;
  // Batch `index`; the rows that the last one lacks are padding. Returns how many targets count.
  int64_t fill(int64_t index, int32_t* tokens, int32_t* targets) const;

 private:
  const TokenSplit& split_;
  BatchShape shape_;
  int64_t windows_ = 0;
};

}  // namespace msltx::data
