#include "msltx/data/batches.h"

#include <limits>

#include "msltx/base/error.h"

namespace msltx::data {
namespace {

constexpr int64_t kMaxSize = int64_t{1} << 31;

// Row `k` of arrays of T places a row.
Row row_of(int64_t k, int64_t length, int32_t* tokens, int32_t* targets, int32_t* documents) {
  const auto n = static_cast<size_t>(length);
  Row row{{tokens + k * length, n}, {targets + k * length, n}, {}};
  if (documents) row.documents = {documents + k * length, n};
  return row;
}

}  // namespace

void check(const BatchShape& shape) {
  const auto in_range = [](const char* name, int64_t value) {
    if (value < 1 || value > kMaxSize) {
      throw ValueError(concat(name, " is ", value, "; it takes 1 to ", kMaxSize));
    }
  };
  in_range("batch_size", shape.batch_size);
  in_range("length", shape.length);
}

Batches::Batches(const TokenSplit& split, const BatchShape& shape, uint64_t seed) : shape_(shape) {
  check(shape);
  sequences_ = make_sequences(split, RowMode::windows, {shape.length, shape.pad_id}, seed, false);
}

Batches::Batches(std::shared_ptr<const Sequences> sequences, const BatchShape& shape)
    : sequences_(std::move(sequences)), shape_(shape) {
  check(shape);
}

void Batches::fill(int64_t step, int32_t* tokens, int32_t* targets, int32_t* documents) const {
  if (step < 0 || step > std::numeric_limits<int64_t>::max() / shape_.batch_size - 1) {
    throw ValueError(concat("step ", step, " is out of range"));
  }
  fill_sequences(step * shape_.batch_size, shape_.batch_size, tokens, targets, documents);
}

void Batches::fill_sequences(int64_t first, int64_t count, int32_t* tokens, int32_t* targets,
                             int32_t* documents) const {
  if (first < 0 || count < 0 || first > std::numeric_limits<int64_t>::max() - count) {
    throw ValueError(concat("sequences [", first, ", +", count, ") are out of range"));
  }
  for (int64_t k = 0; k < count; ++k) {
    sequences_->fill(first + k, row_of(k, shape_.length, tokens, targets, documents));
  }
}

EvalBatches::EvalBatches(const TokenSplit& split, const BatchShape& shape)
    : split_(split), shape_(shape) {
  check(shape);
  check_tokens(split);
  windows_ = (split.tokens() - 1 + shape.length - 1) / shape.length;
}

int64_t EvalBatches::batches() const {
  return (windows_ + shape_.batch_size - 1) / shape_.batch_size;
}

int64_t EvalBatches::fill(int64_t index, int32_t* tokens, int32_t* targets) const {
  if (index < 0 || index >= batches()) {
    throw ValueError(concat("evaluation batch ", index, " is out of range; there are ", batches()));
  }
  int64_t counted = 0;
  for (int64_t k = 0; k < shape_.batch_size; ++k) {
    const int64_t window = index * shape_.batch_size + k;
    counted += fill_in_order(split_, window * shape_.length, split_.tokens(),
                             row_of(k, shape_.length, tokens, targets, nullptr), shape_.pad_id);
  }
  return counted;
}

}  // namespace msltx::data
