#include "msltx/base/arena.h"

#include <sys/mman.h>

#include <utility>

#include "msltx/base/error.h"

namespace msltx {
namespace {

// From here on huge pages pay: fewer TLB misses on weights and activations.
constexpr int64_t kHugePageFrom = int64_t{4} << 20;

}  // namespace

Arena::Arena(int64_t bytes) : capacity_(aligned(bytes)) {
  if (capacity_ == 0) return;
  void* p = mmap(nullptr, static_cast<size_t>(capacity_), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) {
    throw MemoryLimitError(concat("cannot reserve ", capacity_, " bytes of memory"));
  }
#ifdef MADV_HUGEPAGE
  if (capacity_ >= kHugePageFrom) madvise(p, static_cast<size_t>(capacity_), MADV_HUGEPAGE);
#endif
  data_ = static_cast<std::byte*>(p);
}

Arena::~Arena() {
  if (data_) munmap(data_, static_cast<size_t>(capacity_));
}

Arena::Arena(Arena&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      capacity_(std::exchange(other.capacity_, 0)),
      used_(std::exchange(other.used_, 0)) {}

Arena& Arena::operator=(Arena&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(capacity_, other.capacity_);
  std::swap(used_, other.used_);
  return *this;
}

Tensor Arena::allocate(DType dtype, std::span<const int64_t> shape) {
  Tensor t = Tensor::host(data_, dtype, shape);
  const int64_t need = aligned(t.bytes());
  if (need > capacity_ - used_) {
    throw ValueError(concat("an arena of ", capacity_, " bytes has ", capacity_ - used_, " left; ",
                            need, " were asked for"));
  }
  t.buffer = {Memory::host, data_, used_, capacity_};
  used_ += need;
  return t;
}

}  // namespace msltx
