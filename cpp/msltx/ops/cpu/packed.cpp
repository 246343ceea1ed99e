#include "msltx/ops/cpu/packed.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "msltx/ops/cpu/onednn.h"

namespace msltx::ops::cpu {
namespace {

// Inner rows packed by one task: with a panel's 64 columns, 256 KiB written.
constexpr int64_t kRowsPerTask = 1024;

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

// Rows [first, last) of one panel; the last rows of all bring their padding along.
void pack_panel(float* to, const Tensor& weight, Form form, int64_t panel, int64_t first,
                int64_t last) {
  const int64_t inner = inner_of(weight, form);
  const int64_t column = panel * kPanel;
  const int64_t columns = std::min(kPanel, outer_of(weight, form) - column);
  const int64_t stride = weight.stride(0);
  to += panel * panel_stride(inner);
  if (columns < kPanel) std::fill(to + first * kPanel, to + last * kPanel, 0.0f);
  if (last == inner) std::fill(to + last * kPanel, to + panel_stride(inner), 0.0f);
  if (form == Form::backward) {
    for (int64_t k = first; k < last; ++k) {
      std::memcpy(to + k * kPanel, weight.data() + k * stride + column,
                  static_cast<size_t>(columns) * sizeof(float));
    }
    return;
  }
  // A transposition, by squares that read whole cache lines and write within 4 KiB.
  for (int64_t k0 = first; k0 < last; k0 += kInnerBlock) {
    const int64_t rows = std::min(kInnerBlock, last - k0);
    for (int64_t j = 0; j < columns; ++j) {
      const float* from = weight.data() + (column + j) * stride + k0;
      for (int64_t k = 0; k < rows; ++k) to[(k0 + k) * kPanel + j] = from[k];
    }
  }
}

void pack(Stream& stream, const Tensor& weight, Form form, float* to) {
  const int64_t inner = inner_of(weight, form);
  const int64_t blocks = std::max<int64_t>(1, (inner + kRowsPerTask - 1) / kRowsPerTask);
  stream.parallel_for(panels(outer_of(weight, form)) * blocks, [&](int64_t task, int) {
    const int64_t first = task % blocks * kRowsPerTask;
    pack_panel(to, weight, form, task / blocks, first, std::min(first + kRowsPerTask, inner));
  });
}

}  // namespace

int64_t packing_scratch(const Tensor& weight, Form form) {
  return is_current(weight, form) ? 0 : Arena::aligned(packed_bytes(weight, form));
}

const float* packed(Stream& stream, const Tensor& weight, Form form, std::byte* scratch) {
  if (is_current(weight, form)) return reinterpret_cast<float*>(find(weight, form)->memory.data());
  auto* to = reinterpret_cast<float*>(scratch);
  pack(stream, weight, form, to);
  return to;
}

void prepare(Stream& stream, const Tensor& weight, WeightUse use) {
  if (!weight.weight) return;
  Weight& owner = *weight.weight;
  if (!dynamic_cast<PackedForms*>(owner.forms.get())) owner.forms = std::make_unique<PackedForms>();
  for (const Form form : {Form::forward, Form::backward}) {
    if (!(form == Form::forward ? use.forward : use.backward) || is_current(weight, form)) continue;
    PackedForms::Kept& kept = *find(weight, form);
    if (!kept.memory.data()) kept.memory = Arena(packed_bytes(weight, form));
    pack(stream, weight, form, reinterpret_cast<float*>(kept.memory.data()));
    kept.version = owner.version;
  }
}

}  // namespace msltx::ops::cpu
