// How much memory this process may still take.
#pragma once

#include <cstdint>

namespace msltx {

// min(what the system has available, what is left of the cgroup's limit), in bytes; INT64_MAX where
// neither is known.
int64_t available_memory();

// The process's largest resident set so far, in bytes.
int64_t peak_resident_memory();

}  // namespace msltx
