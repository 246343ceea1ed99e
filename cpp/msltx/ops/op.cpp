#include "msltx/ops/op.h"

#include "msltx/base/error.h"
#include "msltx/ops/axes.h"

namespace msltx::ops {
namespace {

bool allowed(Element element, DType dtype, DType compute) {
  switch (element) {
    case Element::compute:
      return dtype == compute && (dtype == DType::float32 || dtype == DType::bfloat16);
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
  return a.data<char>() == b.data<char>() && a.shape == b.shape && a.strides == b.strides;
}

// True where an interleaved view (such as q beside k in a fused qkv) makes extents overlap although
// no element is shared: both have the same row pitch and their columns are disjoint.
bool interleaved(const Tensor& a, const Tensor& b) {
  if (a.rank != b.rank || a.rank < 2 || a.dtype != b.dtype) return false;
  return a.buffer.handle == b.buffer.handle && a.strides == b.strides && !same_view(a, b);
}

}  // namespace

const AttributeInfo* OpInfo::find_attribute(std::string_view attribute) const {
  for (const AttributeInfo& info : attributes) {
    if (info.name == attribute) return &info;
  }
  return nullptr;
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

DType OpInfo::compute_type(const void* op) const {
  for (const FieldInfo& field : fields) {
    const Tensor& t = tensor(op, field);
    if (field.element == Element::compute && t.defined()) return t.dtype;
  }
  return DType::float32;
}

void check(const OpInfo& info, const void* op) {
  const DType compute = info.compute_type(op);
  AxisSizes sizes;
  for (const AttributeInfo& attribute : info.attributes) {
    if (attribute.axis.empty()) continue;
    const auto size = OpInfo::value<int64_t>(op, attribute);
    if (size != 0) sizes.set(attribute.axis, size);
  }
  for (const FieldInfo& field : info.fields) {
    const Tensor& t = OpInfo::tensor(op, field);
    if (!t.defined()) {
      if (field.is_optional) continue;
      throw ValueError(concat(info.name, ": ", field.name, " is missing"));
    }
    if (!allowed(field.element, t.dtype, compute)) {
      throw ValueError(concat(info.name, ": ", field.name, " is ", name_of(t.dtype), "; expected ",
                              field.element == Element::int32     ? "int32"
                              : field.element == Element::float32 ? "float32"
                                                                  : name_of(compute)));
    }
    if (t.rank > 0 && t.dim(-1) > 1 && t.stride(-1) != 1) {
      throw ValueError(concat(info.name, ": the last dimension of ", field.name, " has stride ",
                              t.stride(-1), "; it must be contiguous"));
    }
  }
  // A dimension that is a product tells its factors only where the others are known.
  for (const bool products : {false, true}) {
    for (const FieldInfo& field : info.fields) {
      const Tensor& t = OpInfo::tensor(op, field);
      if (!t.defined() || (field.axes.find('*') != field.axes.npos) != products) continue;
      sizes.match(info, field, std::span(t.shape.data(), static_cast<size_t>(t.rank)));
    }
  }
  for (const FieldInfo& output : info.fields) {
    if (!output.is_output()) continue;
    const Tensor& out = OpInfo::tensor(op, output);
    if (!out.defined() || out.size() == 0) continue;
    const Extent a = extent(out);
    for (const FieldInfo& other : info.fields) {
      const Tensor& t = OpInfo::tensor(op, other);
      if (&other == &output || !t.defined() || t.size() == 0) continue;
      const Extent b = extent(t);
      if (a.end <= b.begin || b.end <= a.begin || interleaved(out, t)) continue;
      if (other.name == output.may_alias && same_view(out, t)) continue;
      throw ValueError(
          concat(info.name, ": ", output.name, " overlaps ", other.name, ", which it may not"));
    }
  }
}

}  // namespace msltx::ops
