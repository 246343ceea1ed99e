// Sinusoidal encoding of places (positions: sinusoidal) and of distances (relative_xl).
#pragma once

#include "msltx/base/tensor.h"

namespace msltx::model {

// Rows (places from 0 on, C) of float32: even columns sin, odd cos of place / 10000^(2i / C)
// (Vaswani et al. 2017).
void fill_sinusoids(const Tensor& table);

}  // namespace msltx::model
