#include "msltx/ops/scratch.h"

namespace msltx::ops {

void Scratch::grow(Arena& arena, int64_t bytes) {
  if (bytes <= arena.capacity()) return;
  arena = Arena();
  arena = Arena(bytes);
}

void Scratch::level() {
  int64_t most = 0;
  for (const Arena& arena : workers_) most = std::max(most, arena.capacity());
  for (Arena& arena : workers_) grow(arena, most);
}

void Scratch::reserve_worker(int worker, int64_t bytes) {
  grow(workers_[static_cast<size_t>(worker)], bytes);
}

void Scratch::reserve_shared(int64_t bytes) { grow(shared_, bytes); }

int64_t Scratch::bytes() const {
  int64_t total = shared_.capacity();
  for (const Arena& arena : workers_) total += arena.capacity();
  return total;
}

}  // namespace msltx::ops
