#include "msltx/ops/axes.h"

#include "msltx/base/error.h"

namespace msltx::ops {
namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    text = at == std::string_view::npos ? std::string_view{} : text.substr(at + 1);
  }
  return parts;
}

}  // namespace

std::vector<std::vector<std::string_view>> parse_axes(std::string_view axes) {
  std::vector<std::vector<std::string_view>> dimensions;
  for (std::string_view dimension : split(axes, ' ')) dimensions.push_back(split(dimension, '*'));
  return dimensions;
}

bool has_row_axis(std::string_view axes) { return axes == "N" || axes.starts_with("N "); }

int64_t AxisSizes::get(std::string_view letter) const {
  for (const Entry& entry : entries_) {
    if (entry.letter == letter) return entry.size;
  }
  return -1;
}

void AxisSizes::set(std::string_view letter, int64_t size) { entries_.push_back({letter, size}); }

int64_t AxisSizes::value_of(std::string_view expression) const {
  const size_t minus = expression.find(" - ");
  const int64_t first = get(expression.substr(0, minus));
  if (minus == std::string_view::npos || first < 0) return first;
  const int64_t second = get(expression.substr(minus + 3));
  return second < 0 ? -1 : first - second;
}

void AxisSizes::match(const OpInfo& info, const FieldInfo& field, std::span<const int64_t> shape,
                      std::span<const int64_t> shown) {
  const auto dimensions = parse_axes(field.axes);
  const auto names = split(field.axes, ' ');
  const auto fail = [&](const std::string& expected) {
    throw ValueError(concat(info.name, ": ", field.name, " has shape ",
                            to_string(shown.data() ? shown : shape), "; expected ", expected));
  };
  if (shape.size() != dimensions.size()) {
    fail(concat(dimensions.size(), dimensions.size() == 1 ? " dimension" : " dimensions", " (",
                field.axes, ")"));
  }
  for (size_t i = 0; i < shape.size(); ++i) {
    int64_t known = 1;
    std::string_view open;
    bool several_open = false;
    for (std::string_view letter : dimensions[i]) {
      const int64_t size = get(letter);
      if (size < 0) {
        several_open |= !open.empty();
        open = letter;
      } else {
        known *= size;
      }
    }
    if (several_open) continue;
    if (open.empty() && known != shape[i]) {
      fail(concat("(", field.axes, ") with ", names[i], " = ", known));
    }
    if (!open.empty()) {
      if (known == 0 || shape[i] % known != 0) {
        fail(concat("(", field.axes, ") with ", names[i], " a multiple of ", known));
      }
      set(open, shape[i] / known);
    }
  }
}

std::vector<int64_t> AxisSizes::shape_of(const OpInfo& info, const FieldInfo& field) const {
  std::vector<int64_t> shape;
  for (const auto& dimension : parse_axes(field.axes)) {
    int64_t size = 1;
    for (std::string_view letter : dimension) {
      if (get(letter) < 0) {
        throw ValueError(concat(info.name, ": the size ", letter, " of ", field.name,
                                " follows from no input; give the attribute that sets it"));
      }
      size *= get(letter);
    }
    shape.push_back(size);
  }
  return shape;
}

void AxisSizes::settle_partials(int64_t partial_rows) {
  if (get("P") >= 0 || get("N") < 0) return;
  const int64_t rows = get("N");
  set("P", partial_rows <= 0 || rows == 0 ? 1 : (rows + partial_rows - 1) / partial_rows);
}

}  // namespace msltx::ops
