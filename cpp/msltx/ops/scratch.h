// Scratch memory of kernels: one region per worker and one shared region, grown to the largest need
// seen. A model plans it before its first step, so that steps never grow it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "msltx/base/arena.h"

namespace msltx::ops {

struct ScratchNeed {
  int64_t per_worker = 0;  // bytes
  int64_t shared = 0;      // bytes
};

class Scratch {
 public:
  explicit Scratch(int workers) : workers_(static_cast<size_t>(workers)) {}

  void reserve_worker(int worker, int64_t bytes);
  void reserve_shared(int64_t bytes);
  // Gives every worker what the neediest one has: which worker met which op is chance.
  void level();

  std::byte* worker(int worker) const { return workers_[static_cast<size_t>(worker)].data(); }
  std::byte* shared() const { return shared_.data(); }
  int workers() const { return static_cast<int>(workers_.size()); }
  int64_t bytes() const;

 private:
  void grow(Arena& arena, int64_t bytes);

  std::vector<Arena> workers_;
  Arena shared_;
};

}  // namespace msltx::ops
