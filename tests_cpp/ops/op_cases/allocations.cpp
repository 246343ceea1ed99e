#include "ops/op_cases/allocations.h"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

std::atomic<bool> watching{false};
std::atomic<std::size_t> largest_block{0};

void note(std::size_t bytes) {
  if (!watching.load(std::memory_order_relaxed)) return;
  std::size_t seen = largest_block.load();
  while (bytes > seen && !largest_block.compare_exchange_weak(seen, bytes)) {
  }
}

}  // namespace

// The array, sized and nothrow forms end up in these.
void* operator new(std::size_t bytes) {
  note(bytes);
  if (void* block = std::malloc(bytes == 0 ? 1 : bytes)) return block;
  throw std::bad_alloc();
}
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }

namespace msltx::ops::op_cases {

AllocationWatch::AllocationWatch() {
  largest_block = 0;
  watching = true;
}
AllocationWatch::~AllocationWatch() { watching = false; }
int64_t AllocationWatch::largest() const { return static_cast<int64_t>(largest_block.load()); }

}  // namespace msltx::ops::op_cases
