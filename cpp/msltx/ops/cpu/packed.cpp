#include "msltx/ops/cpu/packed.h"

#include <algorithm>
#include <array>

#include "msltx/ops/cpu/onednn.h"

namespace msltx::ops::cpu {
namespace {

// Columns of a weight that one task packs, of 64 rows: 256 KiB, which the second form finds in
// cache.
constexpr int64_t kTaskColumns = 1024;

struct PackedForms final : WeightForms {
  struct Kept {
    Arena memory;
    uint64_t version = 0;
  };
  std::array<Kept, 2> kept;  // by Form

  int64_t bytes() const override { return kept[0].memory.capacity() + kept[1].memory.capacity(); }
};

int64_t inner_of(const Tensor& weight, Form form) { return weight.dim(form == Form::forward); }
int64_t outer_of(const Tensor& weight, Form form) { return weight.dim(form != Form::forward); }

int64_t packed_bytes(const Tensor& weight, Form form) {
  return packed_size(inner_of(weight, form), outer_of(weight, form)) *
         static_cast<int64_t>(sizeof(float));
}

PackedForms::Kept* find(const Tensor& weight, Form form) {
  if (!weight.weight) return nullptr;
  auto* forms = dynamic_cast<PackedForms*>(weight.weight->forms.get());
  return forms ? &forms->kept[static_cast<size_t>(form)] : nullptr;
}

bool is_current(const Tensor& weight, Form form) {
  const auto* kept = find(weight, form);
  return kept && kept->version == weight.weight->version;
}

// A part of a weight (O, C): `rows` from row `row` on, one panel's worth, and some columns.
struct Part {
  int64_t row, rows, column, columns;
};

// Into the form for rows x weight, whose inner dimension is O: pieces of rows, copied.
void pack_backward(float* to, const Tensor& weight, const Part& part) {
  const int64_t O = weight.dim(0), C = weight.dim(1), end = part.row + part.rows;
  for (int64_t c = part.column; c < part.column + part.columns; c += kPanel) {
    float* panel = to + c / kPanel * panel_stride(O);
    const int64_t columns = std::min(kPanel, C - c);
    for (int64_t o = part.row; o < end; ++o) {
      std::copy_n(weight.data() + o * weight.stride(0) + c, columns, panel + o * kPanel);
      std::fill_n(panel + o * kPanel + columns, kPanel - columns, 0.0f);
    }
    if (end == O) std::fill(panel + O * kPanel, panel + panel_stride(O), 0.0f);
  }
}

// Into the form for rows x weight^T, whose inner dimension is C: transposed, by squares that read
// whole cache lines and write within 4 KiB.
void pack_forward(float* to, const Tensor& weight, const Part& part) {
  const int64_t C = weight.dim(1), end = part.column + part.columns;
  float* panel = to + part.row / kPanel * panel_stride(C);
  if (part.rows < kPanel) {
    std::fill(panel + part.column * kPanel, panel + end * kPanel, 0.0f);
  }
  for (int64_t c = part.column; c < end; c += kInnerBlock) {
    const int64_t columns = std::min(kInnerBlock, end - c);
    for (int64_t r = 0; r < part.rows; ++r) {
      const float* from = weight.data() + (part.row + r) * weight.stride(0) + c;
      for (int64_t i = 0; i < columns; ++i) panel[(c + i) * kPanel + r] = from[i];
    }
  }
  if (end == C) std::fill(panel + C * kPanel, panel + panel_stride(C), 0.0f);
}

// The forms that are not null.
void pack(Stream& stream, const Tensor& weight, float* forward, float* backward) {
  const int64_t O = weight.dim(0), C = weight.dim(1);
  const int64_t across = (C + kTaskColumns - 1) / kTaskColumns;
  stream.parallel_for(panels(O) * across, [&](int64_t task, int) {
    const int64_t row = task / across * kPanel, column = task % across * kTaskColumns;
    const Part part{row, std::min(kPanel, O - row), column, std::min(kTaskColumns, C - column)};
    // The copies first: they read straight on, which memory is fast at.
    if (backward) pack_backward(backward, weight, part);
    if (forward) pack_forward(forward, weight, part);
  });
}

}  // namespace

int64_t packing_scratch(const Tensor& weight, Form form) {
  return is_current(weight, form) ? 0 : Arena::aligned(packed_bytes(weight, form));
}

const float* packed(Stream& stream, const Tensor& weight, Form form, std::byte* scratch) {
  if (is_current(weight, form)) return reinterpret_cast<float*>(find(weight, form)->memory.data());
  auto* to = reinterpret_cast<float*>(scratch);
  pack(stream, weight, form == Form::forward ? to : nullptr, form == Form::backward ? to : nullptr);
  return to;
}

int64_t prepared_bytes(const Tensor& weight, WeightUse use) {
  return (use.forward ? packed_bytes(weight, Form::forward) : 0) +
         (use.backward ? packed_bytes(weight, Form::backward) : 0);
}

void prepare(Stream& stream, const Tensor& weight, WeightUse use) {
  if (!weight.weight) return;
  Weight& owner = *weight.weight;
  if (!dynamic_cast<PackedForms*>(owner.forms.get())) owner.forms = std::make_unique<PackedForms>();
  const auto room = [&](Form form, bool wanted) -> float* {
    if (!wanted || is_current(weight, form)) return nullptr;
    PackedForms::Kept& kept = *find(weight, form);
    if (!kept.memory.data()) kept.memory = Arena(packed_bytes(weight, form));
    return reinterpret_cast<float*>(kept.memory.data());
  };
  float* forward = room(Form::forward, use.forward);
  float* backward = room(Form::backward, use.backward);
  if (!forward && !backward) return;
  pack(stream, weight, forward, backward);
  if (forward) find(weight, Form::forward)->version = owner.version;
  if (backward) find(weight, Form::backward)->version = owner.version;
}

}  // namespace msltx::ops::cpu
