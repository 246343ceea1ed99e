#include "msltx/base/tensor.h"

#include "msltx/base/error.h"

namespace msltx {

Tensor Tensor::host(void* data, DType dtype, std::span<const int64_t> shape) {
  if (shape.size() > kMaxRank) {
    throw ValueError(concat("a tensor has ", shape.size(), " dimensions; the limit is ", kMaxRank));
  }
  Tensor t;
  t.dtype = dtype;
  t.rank = static_cast<int>(shape.size());
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    t.shape[i] = shape[i];
    t.strides[i] = stride;
    stride *= shape[i];
  }
  t.buffer = {Memory::host, data, 0, stride * size_of(dtype)};
  return t;
}

bool Tensor::contiguous() const {
  int64_t expected = 1;
  for (int i = rank; i-- > 0;) {
    const auto k = static_cast<size_t>(i);
    if (shape[k] != 1 && strides[k] != expected) return false;
    expected *= shape[k];
  }
  return true;
}

Tensor Tensor::slice(int axis, int64_t first, int64_t count) const {
  const auto k = static_cast<size_t>(axis < 0 ? rank + axis : axis);
  if (first < 0 || count < 0 || first > shape[k] - count) {
    throw ValueError(
        concat("slice [", first, ", ", first + count, ") is outside a dimension of ", shape[k]));
  }
  Tensor view = *this;
  view.weight = nullptr;
  view.shape[k] = count;
  view.buffer.byte_offset += first * strides[k] * size_of(dtype);
  return view;
}

Tensor Tensor::reshape(std::initializer_list<int64_t> new_shape) const {
  Tensor view = host(buffer.handle, dtype, new_shape);
  if (!contiguous() || view.size() != size()) {
    throw ValueError(concat("cannot view ", to_string(*this), " as ",
                            to_string(std::span(new_shape.begin(), new_shape.size()))));
  }
  view.buffer = buffer;
  return view;
}

Tensor Tensor::swap_axes(int a, int b) const {
  Tensor view = *this;
  view.weight = nullptr;
  std::swap(view.shape[static_cast<size_t>(a)], view.shape[static_cast<size_t>(b)]);
  std::swap(view.strides[static_cast<size_t>(a)], view.strides[static_cast<size_t>(b)]);
  return view;
}

std::string to_string(std::span<const int64_t> shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) text += concat(i ? ", " : "", shape[i]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

std::string to_string(const Tensor& tensor) {
  return concat(name_of(tensor.dtype), " ",
                to_string(std::span(tensor.shape.data(), static_cast<size_t>(tensor.rank))));
}

}  // namespace msltx
