// The private forms a backend keeps of one parameter (packed for its matrix products, converted to
// another dtype), beside the parameter and as old as its version says.
#pragma once

#include <cstdint>
#include <memory>

namespace msltx {

// What a backend keeps; it alone knows the derived type.
struct WeightForms {
  virtual ~WeightForms() = default;
  virtual int64_t bytes() const = 0;
};

struct Weight {
  uint64_t version = 1;  // moves on with every change of the values
  std::unique_ptr<WeightForms> forms;
};

}  // namespace msltx
