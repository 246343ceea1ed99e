// Token ids between Python and the engine: any integer array or list in, int32 arrays out.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "msltx/text/tokenizer.h"

namespace msltx::bindings {

// A copy of a one-dimensional array or sequence of integers as int32. Throws ValueError, naming
// `what`, for another type, another shape, or a number outside int32.
std::vector<int32_t> token_ids(const pybind11::handle& ids, const std::string& what);

// An int32 array of the ids; a long one takes their memory over.
pybind11::array_t<int32_t> id_array(std::vector<int32_t> ids);
pybind11::array_t<int32_t> id_array(text::IdArray ids);
pybind11::array_t<int32_t> id_array(std::span<const int32_t> ids);

}  // namespace msltx::bindings
