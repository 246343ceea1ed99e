// Axes strings at work: the sizes that an op's letters stand for, read off its tensors and
// attributes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "msltx/ops/op.h"

namespace msltx::ops {

// "B T nh*hs" -> {{"B"}, {"T"}, {"nh", "hs"}}; "1" and "2" stay letters of that size.
std::vector<std::vector<std::string_view>> parse_axes(std::string_view axes);

// True where the first axis is N: any number of leading dimensions stand for it.
bool has_row_axis(std::string_view axes);

// Letter -> size, grown tensor by tensor.
class AxisSizes {
 public:
  AxisSizes() {
    set("1", 1);
    set("2", 2);
  }

  int64_t get(std::string_view letter) const;  // -1 where unknown
  // Of "S" or "S - T"; -1 where a letter is unknown.
  int64_t value_of(std::string_view expression) const;
  void set(std::string_view letter, int64_t size);

  // Takes in the shape of a field (row axes already flattened): solves what one unknown letter a
  // dimension leaves open; a dimension of two unknown letters tells nothing yet. Throws ValueError
  // naming op, field, expected and found where it disagrees; `shown` is the shape to name in it
  // where the caller has another for it.
  void match(const OpInfo& info, const FieldInfo& field, std::span<const int64_t> shape,
             std::span<const int64_t> shown = {});

  // The field's shape. Throws ValueError where a letter is unknown.
  std::vector<int64_t> shape_of(const OpInfo& info, const FieldInfo& field) const;

  // P, once N and the op's partial_rows are known.
  void settle_partials(int64_t partial_rows);

 private:
  struct Entry {
    std::string_view letter;
    int64_t size;
  };
  std::vector<Entry> entries_;
};

}  // namespace msltx::ops
