// The machine's read bandwidth, which speeds of memory-bound work are given as a share of.
#pragma once

#include "msltx/base/executor.h"

namespace msltx::ops {

// The best of ten reads of 1 GiB by all workers, in bytes per second. Takes 1 GiB meanwhile.
double read_bandwidth(Executor& executor);

}  // namespace msltx::ops
