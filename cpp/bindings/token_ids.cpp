#include "bindings/token_ids.h"

#include <cstring>
#include <limits>
#include <memory>
#include <utility>

#include "msltx/base/error.h"

namespace py = pybind11;

namespace msltx::bindings {
namespace {

// Below this a copy costs less than handing memory over.
constexpr size_t kCopyUpTo = 4096;

}  // namespace

std::vector<int32_t> token_ids(const py::handle& ids, const std::string& what) {
  const py::array given = py::array::ensure(ids);
  if (!given) {
    PyErr_Clear();
    throw ValueError(concat(what, " is no sequence of integers"));
  }
  if (given.ndim() != 1) {
    throw ValueError(concat(what, " has ", given.ndim(), " dimensions; one is expected"));
  }
  if (given.size() == 0) return {};
  const char kind = given.dtype().kind();
  if (kind != 'i' && kind != 'u') {
    throw ValueError(concat(what, " has dtype ", std::string(py::str(given.dtype())),
                            "; integers are expected"));
  }
  const auto wide = py::array_t<int64_t, py::array::c_style | py::array::forcecast>::ensure(given);
  const bool is_unsigned = kind == 'u';
  std::vector<int32_t> out(static_cast<size_t>(wide.size()));
  const int64_t* const from = wide.data();
  for (size_t i = 0; i < out.size(); ++i) {
    if (is_unsigned && from[i] < 0) {  // 2^63 and more
      throw ValueError(
          concat(what, " holds ", static_cast<uint64_t>(from[i]), ", which is no token id"));
    }
    if (from[i] < std::numeric_limits<int32_t>::min() ||
        from[i] > std::numeric_limits<int32_t>::max()) {
      throw ValueError(concat(what, " holds ", from[i], ", which is no token id"));
    }
    out[i] = static_cast<int32_t>(from[i]);
  }
  return out;
}

py::array_t<int32_t> id_array(std::span<const int32_t> ids) {
  py::array_t<int32_t> out(static_cast<py::ssize_t>(ids.size()));
  if (!ids.empty()) std::memcpy(out.mutable_data(), ids.data(), ids.size_bytes());
  return out;
}

py::array_t<int32_t> id_array(text::IdArray ids) {
  if (ids.size <= kCopyUpTo) return id_array(ids.view());
  const py::capsule owner(ids.data.get(), [](void* p) { delete[] static_cast<int32_t*>(p); });
  int32_t* const data = ids.data.release();
  return py::array_t<int32_t>(static_cast<py::ssize_t>(ids.size), data, owner);
}

py::array_t<int32_t> id_array(std::vector<int32_t> ids) {
  if (ids.size() <= kCopyUpTo) return id_array(std::span<const int32_t>(ids));
  const auto size = static_cast<py::ssize_t>(ids.size());
  auto owned = std::make_unique<std::vector<int32_t>>(std::move(ids));
  int32_t* const data = owned->data();
  const py::capsule owner(owned.get(),
                          [](void* p) { delete static_cast<std::vector<int32_t>*>(p); });
  static_cast<void>(owned.release());
  return py::array_t<int32_t>(size, data, owner);
}

}  // namespace msltx::bindings
