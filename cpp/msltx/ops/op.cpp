#include "msltx/ops/op.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "msltx/base/error.h"
#include "msltx/ops/axes.h"

namespace msltx::ops {
namespace {

bool allowed(Element element, DType dtype, DType compute) {
  switch (element) {
    case Element::compute:
      return dtype == compute;
    case Element::wide:
      return dtype == compute || dtype == DType::float32;
    case Element::float32:
      return dtype == DType::float32;
    case Element::int32:
      return dtype == DType::int32;
  }
  return false;
}

struct Extent {
  const char* begin;
  const char* end;
};

// The bytes from a tensor's first element to its last.
Extent extent(const Tensor& t) {
  int64_t last = 0;
  for (int i = 0; i < t.rank; ++i) last += (t.dim(i) - 1) * t.stride(i);
  const char* begin = t.data<char>();
  return {begin, t.size() == 0 ? begin : begin + (last + 1) * size_of(t.dtype)};
}

bool same_view(const Tensor& a, const Tensor& b) {
  return a.data<char>() == b.data<char>() && a.dtype == b.dtype && a.shape == b.shape &&
         a.strides == b.strides;
}

// True where two views of the same strides, `distance` elements apart, have an element in common:
// some difference of their indices leads from one to the other. Views such as q beside k in a
// fused qkv are interleaved: their extents overlap and their elements do not.
bool share_elements(const Tensor& a, const Tensor& b, int64_t distance) {
  std::vector<int> axes(static_cast<size_t>(a.rank));  // from the largest stride to the smallest
  std::iota(axes.begin(), axes.end(), 0);
  std::sort(axes.begin(), axes.end(), [&](int i, int j) { return a.stride(i) > a.stride(j); });
  const auto reaches = [&](auto& self, int level, int64_t left) -> bool {
    if (level == a.rank) return left == 0;
    int64_t rest = 0;  // what the smaller strides can make up for
    for (int l = level + 1; l < a.rank; ++l) {
      const int axis = axes[static_cast<size_t>(l)];
      rest += (std::max(a.dim(axis), b.dim(axis)) - 1) * a.stride(axis);
    }
    const int axis = axes[static_cast<size_t>(level)];
    const int64_t stride = std::max<int64_t>(a.stride(axis), 1);
    const int64_t first = std::max((left - rest) / stride - 1, 1 - b.dim(axis));
    const int64_t last = std::min((left + rest) / stride + 1, a.dim(axis) - 1);
    for (int64_t steps = first; steps <= last; ++steps) {
      const int64_t remains = left - steps * a.stride(axis);
      if (remains >= -rest && remains <= rest && self(self, level + 1, remains)) return true;
    }
    return false;
  };
  return reaches(reaches, 0, distance);
}

bool overlap(const Tensor& a, const Tensor& b) {
  const Extent first = extent(a), second = extent(b);
  if (first.end <= second.begin || second.end <= first.begin) return false;
  const ptrdiff_t distance = second.begin - first.begin;
  if (a.dtype != b.dtype || a.rank != b.rank || a.strides != b.strides ||
      distance % size_of(a.dtype) != 0) {
    return true;
  }
  return share_elements(a, b, distance / size_of(a.dtype));
}

// Axes of which there may be none: rows, sequences, a count.
bool may_be_empty(std::string_view axis) { return axis == "N" || axis == "B" || axis == "M"; }

std::string_view name_of(Element element, DType compute) {
  switch (element) {
    case Element::compute:
      return msltx::name_of(compute);
    case Element::wide:
      return compute == DType::float32 ? "float32" : "float32 or bfloat16";
    case Element::float32:
      return "float32";
    case Element::int32:
      return "int32";
  }
  return "";
}

double value_of(const void* op, const AttributeInfo& attribute) {
  switch (attribute.type) {
    case AttributeType::number:
      return double{OpInfo::value<float>(op, attribute)};
    case AttributeType::number64:
      return OpInfo::value<double>(op, attribute);
    case AttributeType::integer:
    case AttributeType::choice:
      return static_cast<double>(OpInfo::value<int64_t>(op, attribute));
    case AttributeType::boolean:
      return OpInfo::value<bool>(op, attribute) ? 1 : 0;
  }
  return 0;
}

std::span<const int64_t> shape_of(const Tensor& t) {
  return {t.shape.data(), static_cast<size_t>(t.rank)};
}

// From attributes and inputs, then from everything: what an output has to say comes last.
AxisSizes sizes_of(const OpInfo& info, const void* op) {
  AxisSizes sizes;
  for (const AttributeInfo& attribute : info.attributes) {
    if (attribute.axis.empty()) continue;
    const auto size = OpInfo::value<int64_t>(op, attribute);
    if (size != 0) sizes.set(attribute.axis, size);
  }
  for (const bool only_inputs : {true, false}) {
    for (const FieldInfo& field : info.fields) {
      const Tensor& t = OpInfo::tensor(op, field);
      if (t.defined() && !(only_inputs && field.is_output())) {
        sizes.match(info, field, shape_of(t));
      }
    }
  }
  return sizes;
}

}  // namespace

const AttributeInfo* OpInfo::find_attribute(std::string_view attribute) const {
  for (const AttributeInfo& info : attributes) {
    if (info.name == attribute) return &info;
  }
  return nullptr;
}

const FieldInfo* OpInfo::find_field(std::string_view field) const {
  for (const FieldInfo& info : fields) {
    if (info.name == field) return &info;
  }
  return nullptr;
}

bool OpInfo::meets_condition(const void* op, const FieldInfo& field) const {
  if (field.condition.empty()) return true;
  if (const AttributeInfo* attribute = find_attribute(field.condition)) {
    return value_of(op, *attribute) != attribute->default_value;
  }
  return tensor(op, *find_field(field.condition)).defined();
}

DType OpInfo::chosen_type(const void* op, const FieldInfo& field) const {
  return value<int64_t>(op, *find_attribute(field.chosen_by)) == 0 ? DType::float32
                                                                   : DType::bfloat16;
}

std::string AttributeInfo::range() const {
  const bool from = std::isfinite(minimum), to = std::isfinite(maximum);
  if (from && to) {
    return concat("in ", minimum_included ? "[" : "(", minimum, ", ", maximum,
                  maximum_included ? "]" : ")");
  }
  std::string text;
  if (from) text = concat(minimum_included ? "at least " : "above ", minimum);
  if (to) text = concat(maximum_included ? "at most " : "below ", maximum);
  if (!limit.empty()) text += concat(text.empty() ? "" : " and ", "at most ", limit);
  return takes_zero ? "0 or " + text : text;
}

double OpInfo::bytes(const void* op) const {
  double total = 0;
  const AttributeInfo* accumulate = find_attribute("accumulate");
  for (const FieldInfo& field : fields) {
    const Tensor& t = tensor(op, field);
    if (!t.defined()) continue;
    const bool twice = field.role == Role::updates || (field.role == Role::accumulates &&
                                                       accumulate && value<bool>(op, *accumulate));
    total += static_cast<double>(t.bytes()) * (twice ? 2 : 1);
  }
  return total;
}

bool OpInfo::has_compute_type() const {
  return std::any_of(fields.begin(), fields.end(), [](const FieldInfo& field) {
    return field.element == Element::compute || field.element == Element::wide;
  });
}

DType OpInfo::compute_type(const void* op) const {
  for (const FieldInfo& field : fields) {
    const Tensor& t = tensor(op, field);
    const bool follows = field.element == Element::compute || field.element == Element::wide;
    if (follows && t.defined() && t.dtype == DType::bfloat16) return DType::bfloat16;
  }
  return DType::float32;
}

void check_attribute(const OpInfo& info, const void* op, const AttributeInfo& attribute) {
  const double value = value_of(op, attribute);
  const bool inside =
      (attribute.takes_zero && value == 0) ||
      ((attribute.minimum_included ? value >= attribute.minimum : value > attribute.minimum) &&
       (attribute.maximum_included ? value <= attribute.maximum : value < attribute.maximum));
  if (!std::isfinite(value)) {
    throw ValueError(concat(info.name, ": ", attribute.name, " is ", value, "; it must be finite"));
  }
  if (!inside) {
    const std::string shown = attribute.type == AttributeType::integer
                                  ? std::to_string(OpInfo::value<int64_t>(op, attribute))
                                  : concat(value);
    throw ValueError(
        concat(info.name, ": ", attribute.name, " is ", shown, "; it must be ", attribute.range()));
  }
}

void check(const OpInfo& info, const void* op) {
  const DType compute = info.compute_type(op);
  for (const FieldInfo& field : info.fields) {
    const Tensor& t = OpInfo::tensor(op, field);
    const bool met = info.meets_condition(op, field);
    if (!t.defined()) {
      const bool needed =
          !field.is_optional || (!field.is_output() && !field.condition.empty() && met);
      if (!needed) continue;
      throw ValueError(concat(info.name, ": ", field.name, " is missing",
                              field.condition.empty() ? "" : "; it is needed with ",
                              field.condition));
    }
    if (field.is_output() && !met && info.find_field(field.condition)) {
      throw ValueError(
          concat(info.name, ": ", field.condition, " is missing; ", field.name, " needs it"));
    }
    if (!allowed(field.element, t.dtype, compute)) {
      throw ValueError(concat(info.name, ": ", field.name, " is ", msltx::name_of(t.dtype),
                              "; expected ", name_of(field.element, compute)));
    }
    if (!field.chosen_by.empty() && t.dtype != info.chosen_type(op, field)) {
      throw ValueError(concat(info.name, ": ", field.name, " is ", msltx::name_of(t.dtype),
                              "; expected ", msltx::name_of(info.chosen_type(op, field)), ", as ",
                              field.chosen_by));
    }
    if (!field.type_of.empty()) {
      const Tensor& like = OpInfo::tensor(op, *info.find_field(field.type_of));
      if (like.defined() && like.dtype != t.dtype) {
        throw ValueError(concat(info.name, ": ", field.name, " is ", msltx::name_of(t.dtype),
                                "; expected ", msltx::name_of(like.dtype), ", as ", field.type_of));
      }
    }
    if (t.rank > 0 && t.dim(-1) > 1 && t.stride(-1) != 1) {
      throw ValueError(concat(info.name, ": the last dimension of ", field.name, " has stride ",
                              t.stride(-1), "; it must be contiguous"));
    }
  }
  const AxisSizes sizes = sizes_of(info, op);
  for (const FieldInfo& field : info.fields) {
    const Tensor& t = OpInfo::tensor(op, field);
    if (!t.defined()) continue;
    const auto axes = parse_axes(field.axes);
    for (size_t i = 0; i < axes.size(); ++i) {
      if (t.shape[i] > 0 || may_be_empty(axes[i][0])) continue;
      throw ValueError(concat(info.name, ": ", field.name, " has shape ", to_string(shape_of(t)),
                              "; expected (", field.axes, ") with ", axes[i].back(),
                              " at least 1"));
    }
  }
  for (const auto& [letter, divisor] : info.multiples) {
    if (sizes.get(letter) % sizes.get(divisor) == 0) continue;
    const bool is_number = divisor == std::to_string(sizes.get(divisor));
    throw ValueError(concat(info.name, ": ", letter, " is ", sizes.get(letter),
                            "; it must be a multiple of ", divisor,
                            is_number ? "" : concat(" = ", sizes.get(divisor))));
  }
  for (const AttributeInfo& attribute : info.attributes) {
    const bool from_tensors = !attribute.axis.empty() && OpInfo::value<int64_t>(op, attribute) == 0;
    if (!from_tensors) check_attribute(info, op, attribute);
    if (attribute.limit.empty()) continue;
    const auto value = OpInfo::value<int64_t>(op, attribute);
    const int64_t limit = sizes.value_of(attribute.limit);
    if (value > limit) {
      throw ValueError(concat(info.name, ": ", attribute.name, " is ", value,
                              "; it must be at most ", attribute.limit, " = ", limit));
    }
  }
  for (const FieldInfo& output : info.fields) {
    if (!output.is_output()) continue;
    const Tensor& out = OpInfo::tensor(op, output);
    if (!out.defined() || out.size() == 0) continue;
    for (const FieldInfo& other : info.fields) {
      const Tensor& t = OpInfo::tensor(op, other);
      if (&other == &output || !t.defined() || t.size() == 0) continue;
      if (!overlap(out, t)) continue;
      if (other.name == output.may_alias && same_view(out, t)) continue;
      throw ValueError(
          concat(info.name, ": ", output.name, " overlaps ", other.name, ", which it may not"));
    }
  }
}

void check_indices(const OpInfo& info, const void* op) {
  const AxisSizes sizes = sizes_of(info, op);
  for (const FieldInfo& field : info.fields) {
    const Tensor& t = OpInfo::tensor(op, field);
    if (field.is_output() || field.limit.empty() || !t.defined()) continue;
    const int64_t highest = sizes.value_of(field.limit) - (field.limit_included ? 0 : 1);
    const AttributeInfo* also =
        field.or_attribute.empty() ? nullptr : info.find_attribute(field.or_attribute);
    const int64_t also_value = also ? OpInfo::value<int64_t>(op, *also) : 0;
    for (int64_t i = 0; i < t.size(); ++i) {
      const int64_t value = t.data<int32_t>()[i];
      if ((value >= 0 && value <= highest) || (also && value == also_value)) continue;
      throw ValueError(concat(
          info.name, ": ", field.name, " has ", value, " at ", i, "; it must be at least 0 and ",
          field.limit_included ? "at most " : "below ", field.limit, " = ",
          sizes.value_of(field.limit), also ? concat(", or ", also->name, " = ", also_value) : ""));
    }
  }
}

}  // namespace msltx::ops
