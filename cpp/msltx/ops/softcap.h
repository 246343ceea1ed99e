// The least soft cap, cap tanh(x / cap), that ops and configurations take. 0 is none.
#pragma once

namespace msltx::ops {

// Kernels multiply by 1 / cap and by cap: far below, the one is infinite and the product NaN. No
// score or logit that is capped to a millionth tells anything. As float32 holds it, in which ops
// do.
inline constexpr double kLeastSoftcap = 1e-6f;

}  // namespace msltx::ops
