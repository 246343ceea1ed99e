// How much memory this process may still take.
#pragma once

#include <cstdint>

namespace msltx {

// min(what the system has available, what is left of the cgroup's limit), in bytes; INT64_MAX where
// neither is known.
int64_t available_memory();

// What may be used by giving `held` bytes of this process back first. Memory that was reserved but
// never touched frees nothing, so no more than the resident set counts.
int64_t available_memory_after_freeing(int64_t held);

// The process's resident set, in bytes; the largest int64 where the system does not say.
int64_t resident_memory();

// The process's largest resident set so far, in bytes.
int64_t peak_resident_memory();

}  // namespace msltx
