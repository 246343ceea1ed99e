#include "msltx/model/sinusoids.h"

#include <cmath>

namespace msltx::model {

void fill_sinusoids(const Tensor& table) {
  const int64_t C = table.dim(1);
  for (int64_t t = 0; t < table.dim(0); ++t) {
    for (int64_t c = 0; c < C; ++c) {
      const double exponent = static_cast<double>(c / 2 * 2) / static_cast<double>(C);
      const double angle = static_cast<double>(t) / std::pow(10000.0, exponent);
      table.data()[t * C + c] = static_cast<float>(c % 2 == 0 ? std::sin(angle) : std::cos(angle));
    }
  }
}

}  // namespace msltx::model
