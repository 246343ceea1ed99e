#include "msltx/model/memory_plan.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "msltx/base/error.h"

namespace msltx::model {

size_t MemoryPlan::add(std::string name, DType dtype, std::initializer_list<int64_t> shape,
                       int born, int dies) {
  int64_t bytes = size_of(dtype);
  for (int64_t dimension : shape) {
    if (__builtin_mul_overflow(bytes, dimension, &bytes)) {
      throw MemoryLimitError(concat(name, " has shape ",
                                    to_string(std::span(shape.begin(), shape.size())),
                                    ", more than 2^63 bytes"));
    }
  }
  entries_.push_back({std::move(name), dtype, shape, born, dies, Arena::aligned(bytes), 0});
  return entries_.size() - 1;
}

void MemoryPlan::lay_out() {
  std::vector<size_t> order(entries_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return entries_[a].bytes > entries_[b].bytes; });
  std::vector<size_t> placed;  // by offset
  bytes_ = 0;
  for (size_t index : order) {
    Entry& entry = entries_[index];
    int64_t offset = 0;
    for (size_t other_index : placed) {
      const Entry& other = entries_[other_index];
      if (other.dies < entry.born || entry.dies < other.born) continue;
      if (other.offset >= offset + entry.bytes) break;
      offset = std::max(offset, other.offset + other.bytes);
    }
    entry.offset = offset;
    bytes_ = std::max(bytes_, offset + entry.bytes);
    placed.insert(std::upper_bound(
                      placed.begin(), placed.end(), index,
                      [&](size_t a, size_t b) { return entries_[a].offset < entries_[b].offset; }),
                  index);
  }
}

Tensor MemoryPlan::tensor(size_t index) const {
  const Entry& entry = entries_[index];
  Tensor t = Tensor::host(arena_.data(), entry.dtype, entry.shape);
  t.buffer = {Memory::host, arena_.data(), entry.offset, arena_.capacity()};
  return t;
}

void MemoryPlan::poison_dead(int section) const {
  std::vector<const Entry*> alive;
  for (const Entry& entry : entries_) {
    if (entry.born <= section && section <= entry.dies) alive.push_back(&entry);
  }
  std::sort(alive.begin(), alive.end(),
            [](const Entry* a, const Entry* b) { return a->offset < b->offset; });
  int64_t from = 0;
  const auto poison = [&](int64_t to) {
    if (to > from) std::memset(arena_.data() + from, 0xff, static_cast<size_t>(to - from));
  };
  for (const Entry* entry : alive) {
    poison(entry->offset);
    from = std::max(from, entry->offset + entry->bytes);
  }
  poison(bytes_);
}

}  // namespace msltx::model
