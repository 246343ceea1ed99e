#include "msltx/data/batches.h"

#include <algorithm>
#include <limits>

#include "msltx/base/error.h"
#include "msltx/base/philox.h"
#include "msltx/data/permutation.h"

namespace msltx::data {
namespace {

constexpr int64_t kMaxSize = int64_t{1} << 31;
// The draw that places an epoch's windows; the permutation draws with small indices.
constexpr uint32_t kOffsetDraw = 0xffffffffu;

void check(const TokenSplit& split, const BatchShape& shape) {
  const auto in_range = [](const char* name, int64_t value) {
    if (value < 1 || value > kMaxSize) {
      throw ValueError(concat(name, " is ", value, "; it takes 1 to ", kMaxSize));
    }
  };
  in_range("batch_size", shape.batch_size);
  in_range("length", shape.length);
  if (split.tokens() < 2) {
    throw ValueError(concat("the ", split.name(), " split has ", split.tokens(),
                            " tokens; a batch takes at least 2"));
  }
}

// One row: the tokens from `first` on and the ones after them; padding past the end of the split.
// Returns how many targets count.
int64_t fill_row(const TokenSplit& split, const BatchShape& shape, int64_t first, int32_t* tokens,
                 int32_t* targets) {
  const int64_t here = std::clamp<int64_t>(split.tokens() - 1 - first, 0, shape.length);
  if (here > 0) {
    const auto n = static_cast<size_t>(here);
    split.read(first, {tokens, n});
    std::copy(tokens + 1, tokens + here, targets);
    split.read(first + here, {targets + here - 1, 1});
  }
  std::fill(tokens + here, tokens + shape.length, shape.pad_id);
  std::fill(targets + here, targets + shape.length, kIgnore);
  return here;
}

}  // namespace

Batches::Batches(const TokenSplit& split, const BatchShape& shape, uint64_t seed)
    : split_(split), shape_(shape), seed_(seed) {
  check(split, shape);
  const int64_t whole = (split.tokens() - 1) / shape.length;
  // One window less leaves room to begin anywhere in a window's length.
  windows_ = std::max<int64_t>(1, whole - 1);
}

void Batches::fill(int64_t step, int32_t* tokens, int32_t* targets) const {
  if (step < 0 || step > std::numeric_limits<int64_t>::max() / shape_.batch_size - 1) {
    throw ValueError(concat("step ", step, " is out of range"));
  }
  fill_sequences(step * shape_.batch_size, shape_.batch_size, tokens, targets);
}

void Batches::fill_sequences(int64_t first, int64_t count, int32_t* tokens,
                             int32_t* targets) const {
  if (first < 0 || count < 0 || first > std::numeric_limits<int64_t>::max() - count) {
    throw ValueError(concat("sequences [", first, ", +", count, ") are out of range"));
  }
  const int64_t room = split_.tokens() - 1 - windows_ * shape_.length;  // to begin later
  for (int64_t k = 0; k < count; ++k) {
    const int64_t epoch = (first + k) / windows_;
    const int64_t index = (first + k) % windows_;
    const auto round = static_cast<uint32_t>(epoch);
    int64_t begin = 0;
    if (room > 0) {
      const auto draw = philox(seed_, RandomStream::batches, round, kOffsetDraw, kOffsetDraw);
      begin = static_cast<int64_t>(draw[0] % static_cast<uint64_t>(room + 1));
    }
    begin += Permutation(windows_, seed_, round)(index) * shape_.length;
    fill_row(split_, shape_, begin, tokens + k * shape_.length, targets + k * shape_.length);
  }
}

EvalBatches::EvalBatches(const TokenSplit& split, const BatchShape& shape)
    : split_(split), shape_(shape) {
  check(split, shape);
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
    counted += fill_row(split_, shape_, window * shape_.length, tokens + k * shape_.length,
                        targets + k * shape_.length);
  }
  return counted;
}

}  // namespace msltx::data
