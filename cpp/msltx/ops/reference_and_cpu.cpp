// Backends of a build with oneDNN and Highway.
#include "msltx/ops/backend_list.h"
#include "msltx/ops/cpu/cpu.h"
#include "msltx/ops/reference/reference.h"

namespace msltx::ops {

std::vector<std::unique_ptr<Backend>> make_backends() {
  std::vector<std::unique_ptr<Backend>> list;
  list.push_back(make_reference_backend());
  list.push_back(make_cpu_backend());
  return list;
}

}  // namespace msltx::ops
