// Documents: where every document of a split lies, by number and by place.
#pragma once

#include <cstdint>
#include <vector>

#include "msltx/data/dataset.h"

namespace msltx::data {

class Documents {
 public:
  // Maps the indexes of the split's shards; throws FileError where one does not fit. The split must
  // outlive this.
  explicit Documents(const TokenSplit& split);

  int64_t size() const { return first_.back(); }
  const TokenSplit& split() const { return split_; }

  struct Place {
    int64_t begin = 0, end = 0;  // tokens of the split
    int64_t length() const { return end - begin; }
  };
  Place operator[](int64_t document) const;
  int64_t containing(int64_t token) const;  // the document of a token of the split

 private:
  const TokenSplit& split_;
  std::vector<DocumentIndex> indexes_;        // of each shard
  std::vector<int64_t> first_{0}, token_{0};  // documents and tokens before each shard, and in all
};

}  // namespace msltx::data
