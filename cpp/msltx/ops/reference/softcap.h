// A soft cap and its slope in one number: cap tanh(x / cap), and 1 - tanh^2 from what came out.
#pragma once

#include <cmath>

namespace msltx::ops {

inline float softcapped(float x, float cap) {
  return static_cast<float>(double{cap} * std::tanh(double{x} / double{cap}));
}

inline double softcap_slope(float out, float cap) {
  const double tanh = double{out} / double{cap};
  return (1 - tanh) * (1 + tanh);
}

}  // namespace msltx::ops
