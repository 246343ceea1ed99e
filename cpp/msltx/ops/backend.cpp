#include "msltx/ops/backend.h"

#include <cstdlib>
#include <string>

#include "msltx/base/error.h"
#include "msltx/ops/backend_list.h"

namespace msltx::ops {

// The backends of this build on this machine, made once. In host memory the reference stands in for
// what a backend lacks.
class BackendTable {
 public:
  static const BackendTable& get() {
    static const BackendTable table;
    return table;
  }
  std::span<const Backend* const> all() const { return all_; }

 private:
  BackendTable() {
    owned_ = make_backends();
    for (const auto& backend : owned_) {
      if (backend->memory() == Memory::host) {
        backend->fallback_ = owned_.front()->own_;
        backend->fallback_backend_ = owned_.front().get();
      }
      all_.push_back(backend.get());
    }
  }
  std::vector<std::unique_ptr<Backend>> owned_;
  std::vector<const Backend*> all_;
};

bool Backend::supports(const OpInfo& info, DType compute) const {
  if (own_[static_cast<size_t>(info.index)].run == nullptr) return false;
  return compute == DType::float32 || (compute == DType::bfloat16 && info.has_compute_type());
}

std::span<const Backend* const> backends() { return BackendTable::get().all(); }

namespace {

const Backend& find(std::string_view what, std::string_view name) {
  std::string names;
  for (const Backend* candidate : backends()) {
    if (candidate->name() == name) return *candidate;
    names += concat(names.empty() ? "" : ", ", candidate->name());
  }
  throw ValueError(concat(what, " is ", name, "; the backends here are: ", names));
}

}  // namespace

const Backend& backend(std::string_view name) { return find("backend", name); }

const Backend& default_backend() {
  const char* forced = std::getenv("MSLTX_BACKEND");
  return forced && *forced ? find("MSLTX_BACKEND", forced) : *backends().back();
}

}  // namespace msltx::ops
