#include "msltx/data/bucketed.h"

#include <algorithm>
#include <span>

#include "msltx/base/error.h"
#include "msltx/data/permutation.h"

namespace msltx::data {
namespace {

// Every bucket, and the order of batches, is shuffled by a seed of its own.
uint64_t seed_of(uint64_t seed, int64_t length) {
  return seed ^ (static_cast<uint64_t>(length) * 0x9E3779B97F4A7C15u);
}

}  // namespace

BucketedBatches::BucketedBatches(const TokenSplit& split, const BatchShape& shape, int64_t multiple,
                                 uint64_t seed)
    : documents_(split), shape_(shape), seed_(seed) {
  check(shape);
  if (multiple < 1 || multiple > shape.length) {
    throw ValueError(concat("multiple is ", multiple, "; it takes 1 to length, ", shape.length));
  }
  const auto bucket_of = [&](int64_t document) {  // -1: nothing to predict
    const int64_t targets = std::min(documents_[document].length() - 1, shape.length);
    return targets < 1 ? -1 : (targets - 1) / multiple;
  };
  const int64_t count = (shape.length + multiple - 1) / multiple;
  std::vector<int64_t> sizes(static_cast<size_t>(count));
  for (int64_t d = 0; d < documents_.size(); ++d) {
    const int64_t bucket = bucket_of(d);
    if (bucket < 0) {
      ++report_.left_out;
      continue;
    }
    ++sizes[static_cast<size_t>(bucket)];
    const int64_t length = documents_[d].length();
    report_.truncated += length > shape.length + 1;
    report_.targets += std::min(length - 1, shape.length);
  }
  std::vector<int64_t> next(sizes.size());
  int64_t first = 0;
  for (size_t k = 0; k < sizes.size(); ++k) {
    next[k] = first;
    if (sizes[k] == 0) continue;
    const int64_t length = std::min((static_cast<int64_t>(k) + 1) * multiple, shape.length);
    const int64_t batches = (sizes[k] + shape.batch_size - 1) / shape.batch_size;
    buckets_.push_back({length, first, sizes[k], batches_});
    report_.buckets.push_back({length, sizes[k], batches});
    report_.places += batches * shape.batch_size * length;
    batches_ += batches;
    first += sizes[k];
  }
  if (first == 0) {
    throw ValueError(concat("the ", split.name(), " split has no document of at least two tokens"));
  }
  report_.places_unsorted =
      (first + shape.batch_size - 1) / shape.batch_size * shape.batch_size * shape.length;
  order_.resize(static_cast<size_t>(first));
  for (int64_t d = 0; d < documents_.size(); ++d) {
    const int64_t bucket = bucket_of(d);
    if (bucket >= 0) order_[static_cast<size_t>(next[static_cast<size_t>(bucket)]++)] = d;
  }
}

BucketedBatches::Place BucketedBatches::at(int64_t step) const {
  if (step < 0) throw ValueError(concat("step ", step, " is out of range"));
  const auto epoch = static_cast<uint32_t>(step / batches_);
  const int64_t batch = Permutation(batches_, seed_, epoch)(step % batches_);
  const auto after =
      std::upper_bound(buckets_.begin(), buckets_.end(), batch,
                       [](int64_t b, const Bucket& bucket) { return b < bucket.first_batch; });
  const Bucket* const bucket = &*(after - 1);
  return {bucket, batch - bucket->first_batch, epoch};
}

void BucketedBatches::fill(int64_t step, int32_t* tokens, int32_t* targets) const {
  const auto [bucket, batch, epoch] = at(step);
  const Permutation order(bucket->documents, seed_of(seed_, bucket->length), epoch);
  const auto length = static_cast<size_t>(bucket->length);
  for (int64_t row = 0; row < shape_.batch_size; ++row, tokens += length, targets += length) {
    const int64_t k = batch * shape_.batch_size + row;
    const std::span to(tokens, length), next(targets, length);
    size_t here = 0;
    if (k < bucket->documents) {
      const auto document = documents_[order_[static_cast<size_t>(bucket->first + order(k))]];
      here = static_cast<size_t>(std::min(document.length() - 1, bucket->length));
      documents_.split().read(document.begin, to.first(here));
      documents_.split().read(document.begin + 1, next.first(here));
    }
    std::fill(to.begin() + static_cast<std::ptrdiff_t>(here), to.end(), shape_.pad_id);
    std::fill(next.begin() + static_cast<std::ptrdiff_t>(here), next.end(), kIgnore);
  }
}

PaddingReport BucketedBatches::report() const { return report_; }

}  // namespace msltx::data
