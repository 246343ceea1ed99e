#include "msltx/data/documents.h"

#include <algorithm>

namespace msltx::data {

Documents::Documents(const TokenSplit& split) : split_(split) {
  for (const Shard& shard : split.shards()) {
    indexes_.push_back(shard.index());
    first_.push_back(first_.back() + indexes_.back().documents());
    token_.push_back(token_.back() + shard.tokens());
  }
}

Documents::Place Documents::operator[](int64_t document) const {
  const auto shard = static_cast<size_t>(std::upper_bound(first_.begin(), first_.end(), document) -
                                         first_.begin() - 1);
  const int64_t i = document - first_[shard];
  return {token_[shard] + indexes_[shard].begin(i), token_[shard] + indexes_[shard].begin(i + 1)};
}

int64_t Documents::containing(int64_t token) const {
  const auto shard = static_cast<size_t>(std::upper_bound(token_.begin(), token_.end(), token) -
                                         token_.begin() - 1);
  const DocumentIndex& index = indexes_[shard];
  // The last one that begins at the token or before it; empty documents before it do not matter.
  int64_t low = 0, high = index.documents();
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (index.begin(middle) <= token - token_[shard] ? low : high) = middle;
  }
  return first_[shard] + low;
}

}  // namespace msltx::data
