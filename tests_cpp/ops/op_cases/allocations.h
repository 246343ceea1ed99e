// Counts what operator new is asked for while a watch lives, on all threads. It does not see
// malloc.
#pragma once

#include <cstdint>

namespace msltx::ops::op_cases {

class AllocationWatch {
 public:
  AllocationWatch();
  ~AllocationWatch();
  AllocationWatch(const AllocationWatch&) = delete;
  AllocationWatch& operator=(const AllocationWatch&) = delete;
  int64_t largest() const;  // bytes asked for at once
};

}  // namespace msltx::ops::op_cases
