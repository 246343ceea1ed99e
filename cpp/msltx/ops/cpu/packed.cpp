#include "msltx/ops/cpu/packed.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "msltx/ops/cpu/onednn.h"
#include "msltx/ops/cpu/rows.h"
#include "msltx/ops/cpu/tiles.h"

namespace msltx::ops::cpu {
namespace {

// Columns of a weight that one task packs, of 64 rows: 256 KiB, which the second form finds in
// cache.
constexpr int64_t kTaskColumns = 1024;
// Columns rounded at a time on the way to the bfloat16 form: what they fill, 16 KiB, stays near.
constexpr int64_t kRoundedColumns = 128;

struct PackedForms final : WeightForms {
  struct Kept {
    Arena memory;
    uint64_t version = 0;
  };
  std::array<std::array<Kept, 2>, 2> kept;  // by type, by Form

  int64_t bytes() const override {
    int64_t sum = 0;
    for (const auto& forms : kept) {
      for (const Kept& form : forms) sum += form.memory.capacity();
    }
    return sum;
  }
};

int64_t inner_of(const Tensor& weight, Form form) { return weight.dim(form == Form::forward); }
int64_t outer_of(const Tensor& weight, Form form) { return weight.dim(form != Form::forward); }

template <class E>
int64_t packed_bytes(const Tensor& weight, Form form) {
  return packed_size<E>(inner_of(weight, form), outer_of(weight, form)) *
         static_cast<int64_t>(sizeof(E));
}

template <class E>
PackedForms::Kept* find(const Tensor& weight, Form form) {
  if (!weight.weight) return nullptr;
  auto* forms = dynamic_cast<PackedForms*>(weight.weight->forms.get());
  constexpr size_t type = dtype_of<E> == DType::bfloat16;
  return forms ? &forms->kept[type][static_cast<size_t>(form)] : nullptr;
}

template <class E>
bool is_current(const Tensor& weight, Form form) {
  const auto* kept = find<E>(weight, form);
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
    float* panel = to + c / kPanel * panel_stride<float>(O);
    const int64_t columns = std::min(kPanel, C - c);
    for (int64_t o = part.row; o < end; ++o) {
      std::copy_n(weight.data() + o * weight.stride(0) + c, columns, panel + o * kPanel);
      std::fill_n(panel + o * kPanel + columns, kPanel - columns, 0.0f);
    }
    if (end == O) std::fill(panel + O * kPanel, panel + panel_stride<float>(O), 0.0f);
  }
}

// Into the form for rows x weight^T, whose inner dimension is C: transposed, by squares that read
// whole cache lines and write within 4 KiB.
void pack_forward(float* to, const Tensor& weight, const Part& part) {
  constexpr int64_t kBlock = kInnerBlock<float>;
  const int64_t C = weight.dim(1), end = part.column + part.columns;
  float* panel = to + part.row / kPanel * panel_stride<float>(C);
  if (part.rows < kPanel) {
    std::fill(panel + part.column * kPanel, panel + end * kPanel, 0.0f);
  }
  for (int64_t c = part.column; c < end; c += kBlock) {
    const int64_t columns = std::min(kBlock, end - c);
    for (int64_t r = 0; r < part.rows; ++r) {
      const float* from = weight.data() + (part.row + r) * weight.stride(0) + c;
      for (int64_t i = 0; i < columns; ++i) panel[(c + i) * kPanel + r] = from[i];
    }
  }
  if (end == C) std::fill(panel + C * kPanel, panel + panel_stride<float>(C), 0.0f);
}

// In bfloat16 the panels are made of words, each a pair along the inner dimension.
uint32_t* words(bfloat16* panel) { return reinterpret_cast<uint32_t*>(panel); }

// Rows in pairs: the elements of one row in the lower halves of words, of the next in the upper.
void pack_backward(bfloat16* to, const Tensor& weight, const Part& part) {
  const int64_t O = weight.dim(0), C = weight.dim(1), end = part.row + part.rows;
  const AnyMatrix from(weight);
  for (int64_t c = part.column; c < part.column + part.columns; c += kPanel) {
    bfloat16* panel = to + c / kPanel * panel_stride<bfloat16>(O);
    const int64_t columns = std::min(kPanel, C - c);
    for (int64_t o = part.row; o < end; o += 2) {
      uint32_t* pair = words(panel + o * kPanel);
      pair_rows(pair, from, o, std::min<int64_t>(2, end - o), c, columns);
      std::fill_n(pair + columns, kPanel - columns, 0u);
    }
    if (end == O) {
      std::fill(panel + round_up(O, 2) * kPanel, panel + panel_stride<bfloat16>(O), bfloat16{});
    }
  }
}

// Rows rounded some columns at a time, and then transposed word by word.
void pack_forward(bfloat16* to, const Tensor& weight, const Part& part) {
  const int64_t C = weight.dim(1), end = part.column + part.columns;
  bfloat16* panel = to + part.row / kPanel * panel_stride<bfloat16>(C);
  // Part columns begin at a multiple of kTaskColumns, so of 2.
  if (part.rows < kPanel || end == C) {
    const int64_t last = end == C ? panel_stride<bfloat16>(C) : end * kPanel;
    std::fill(panel + part.column * kPanel, panel + last, bfloat16{});
  }
  const AnyMatrix from(weight, part.row);
  alignas(uint32_t) std::array<bfloat16, kRoundedColumns> row;
  for (int64_t c = part.column; c < end; c += kRoundedColumns) {
    const int64_t columns = std::min(kRoundedColumns, end - c), pairs = (columns + 1) / 2;
    uint32_t* first = words(panel + c * kPanel);
    for (int64_t r = 0; r < part.rows; ++r) {
      narrow_row(row.data(), from, r, c, columns);
      if (columns % 2 != 0) row[static_cast<size_t>(columns)] = bfloat16{};
      for (int64_t i = 0; i < pairs; ++i) {
        std::memcpy(first + i * kPanel + r, &row[static_cast<size_t>(2 * i)], sizeof(uint32_t));
      }
    }
  }
}

// The forms that are not null.
template <class E>
void pack(Stream& stream, const Tensor& weight, E* forward, E* backward) {
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

template <class E>
void prepare_forms(Stream& stream, const Tensor& weight, WeightUse use) {
  Weight& owner = *weight.weight;
  const auto room = [&](Form form, bool wanted) -> E* {
    if (!wanted || is_current<E>(weight, form)) return nullptr;
    PackedForms::Kept& kept = *find<E>(weight, form);
    if (!kept.memory.data()) kept.memory = Arena(packed_bytes<E>(weight, form));
    return reinterpret_cast<E*>(kept.memory.data());
  };
  E* forward = room(Form::forward, use.forward);
  E* backward = room(Form::backward, use.backward);
  if (!forward && !backward) return;
  pack(stream, weight, forward, backward);
  if (forward) find<E>(weight, Form::forward)->version = owner.version;
  if (backward) find<E>(weight, Form::backward)->version = owner.version;
}

// The type in which products of `compute` are made here.
bool is_bfloat16(WeightUse use) {
  return use.compute == DType::bfloat16 && has_bfloat16_products();
}

}  // namespace

template <class E>
int64_t packing_scratch(const Tensor& weight, Form form) {
  return is_current<E>(weight, form) ? 0 : Arena::aligned(packed_bytes<E>(weight, form));
}

template <class E>
const E* packed(Stream& stream, const Tensor& weight, Form form, std::byte* scratch) {
  if (is_current<E>(weight, form)) {
    return reinterpret_cast<E*>(find<E>(weight, form)->memory.data());
  }
  auto* to = reinterpret_cast<E*>(scratch);
  E* none = nullptr;
  pack(stream, weight, form == Form::forward ? to : none, form == Form::backward ? to : none);
  return to;
}

template int64_t packing_scratch<float>(const Tensor&, Form);
template int64_t packing_scratch<bfloat16>(const Tensor&, Form);
template const float* packed<float>(Stream&, const Tensor&, Form, std::byte*);
template const bfloat16* packed<bfloat16>(Stream&, const Tensor&, Form, std::byte*);

int64_t prepared_bytes(const Tensor& weight, WeightUse use) {
  const auto sum = [&]<class E>(E) {
    return (use.forward ? packed_bytes<E>(weight, Form::forward) : 0) +
           (use.backward ? packed_bytes<E>(weight, Form::backward) : 0);
  };
  return is_bfloat16(use) ? sum(bfloat16{}) : sum(0.0f);
}

void prepare(Stream& stream, const Tensor& weight, WeightUse use) {
  if (!weight.weight) return;
  Weight& owner = *weight.weight;
  if (!dynamic_cast<PackedForms*>(owner.forms.get())) owner.forms = std::make_unique<PackedForms>();
  if (is_bfloat16(use)) {
    prepare_forms<bfloat16>(stream, weight, use);
  } else {
    prepare_forms<float>(stream, weight, use);
  }
}

}  // namespace msltx::ops::cpu
