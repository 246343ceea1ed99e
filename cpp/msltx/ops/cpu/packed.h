// The packed forms of a weight (out, in) that the cpu backend keeps beside it: one for rows x
// weight^T and one for rows x weight, in float32 or bfloat16, each as old as the version of the
// weight it was made from. See onednn.h for the layout.
#pragma once

#include <cstdint>

#include "msltx/base/arena.h"
#include "msltx/ops/backend.h"
#include "msltx/ops/stream.h"
#include "msltx/ops/weight.h"

namespace msltx::ops::cpu {

enum class Form : uint8_t { forward, backward };

// Bytes of scratch that packed() asks for: none where the weight's form is up to date.
template <class E>
int64_t packing_scratch(const Tensor& weight, Form form);

// The form of `weight` for products of type E: its own where it is up to date, or else packed now,
// into `scratch`.
template <class E>
const E* packed(Stream& stream, const Tensor& weight, Form form, std::byte* scratch);

// Bytes of the forms that `use` names, of a weight of this shape.
int64_t prepared_bytes(const Tensor& weight, WeightUse use);

// Brings the forms that `use` names up to date.
void prepare(Stream& stream, const Tensor& weight, WeightUse use);

}  // namespace msltx::ops::cpu
