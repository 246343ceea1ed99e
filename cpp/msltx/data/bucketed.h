// BucketedBatches: whole documents, one a row, in batches of documents of like length, so that
// little is padding. Batch `step` is a function of the split, the sizes, the seed and the step.
#pragma once

#include <cstdint>
#include <vector>

#include "msltx/data/batches.h"
#include "msltx/data/documents.h"

namespace msltx::data {

struct PaddingReport {
  struct Bucket {
    int64_t length = 0, documents = 0, batches = 0;
  };
  std::vector<Bucket> buckets;  // those that have documents, shortest first
  int64_t left_out = 0;         // documents of fewer than two tokens: nothing to predict
  int64_t truncated = 0;        // documents of more than T + 1 tokens
  int64_t targets = 0;          // of an epoch
  int64_t places = 0;           // of an epoch's batches, padding included
  int64_t places_unsorted = 0;  // had every row T places
};

class BucketedBatches {
 public:
  // Rows have a multiple of `multiple` places, shape.length (T) at most. Documents of more than
  // T + 1 tokens are cut. Throws ValueError for sizes below 1, and where no document has two
  // tokens. The split must outlive this.
  BucketedBatches(const TokenSplit& split, const BatchShape& shape, int64_t multiple,
                  uint64_t seed);

  int64_t per_epoch() const { return batches_; }
  int64_t length(int64_t step) const { return at(step).bucket->length; }
  // Arrays of batch_size x length(step); the rows that a bucket's last batch lacks are padding.
  void fill(int64_t step, int32_t* tokens, int32_t* targets) const;
  PaddingReport report() const;

 private:
  struct Bucket {
    int64_t length;
    int64_t first;  // of order_
    int64_t documents;
    int64_t first_batch;
  };
  struct Place {
    const Bucket* bucket;
    int64_t batch;  // in the bucket
    uint32_t epoch;
  };
  Place at(int64_t step) const;

  Documents documents_;
  BatchShape shape_;
  uint64_t seed_;
  std::vector<Bucket> buckets_;
  std::vector<int64_t> order_;  // documents, by bucket
  int64_t batches_ = 0;
  PaddingReport report_;
};

}  // namespace msltx::data
