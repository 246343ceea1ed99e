// How an op describes itself. An op is a plain struct of tensors and attributes with
//
//   static constexpr std::string_view name, summary;
//   template <class V> static void visit(V& v);   // says of each field its role, axes, dtype ...
//   double flops() const;
//
// Everything else that must know an op's shape of call (the C++ call, the Python binding and stub,
// the documentation, the profiler, the plan) derives from that one description, through OpInfo.
//
// Axis letters, used in every axes string: B batch, T length, S source length, C embedding, O
// outputs, nh heads, nkv key/value heads, hs head size, V vocabulary, M any count, N rows (any
// leading dimensions, flattened), P partial sums (one per `partial_rows` rows).
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "msltx/base/tensor.h"

namespace msltx::ops {

enum class Role : uint8_t {
  reads,
  writes,
  updates,      // read and written in place
  accumulates,  // written, or added to where the op's `accumulate` attribute is set
};

enum class Element : uint8_t {
  compute,  // the op's compute type, the same for all its compute fields: float32 or bfloat16
  float32,
  int32,
};

struct FieldInfo {
  std::string_view name;
  Role role;
  std::string_view axes;  // letters separated by spaces; a dimension may be a product: "nh*hs"
  std::string_view doc;
  size_t offset;  // of the Tensor in the op's struct
  Element element = Element::compute;
  bool is_optional = false;
  std::string_view produced_when;  // attribute without which an optional output is not made
  std::string_view may_alias;      // input that this output may be the same memory as

  FieldInfo& optional() {
    is_optional = true;
    return *this;
  }
  FieldInfo& when(std::string_view attribute) {
    produced_when = attribute;
    return optional();
  }
  FieldInfo& float32() {
    element = Element::float32;
    return *this;
  }
  FieldInfo& int32() {
    element = Element::int32;
    return *this;
  }
  FieldInfo& alias(std::string_view input) {
    may_alias = input;
    return *this;
  }
  bool is_output() const { return role != Role::reads; }
};

enum class AttributeType : uint8_t { number, integer, boolean, choice };

struct AttributeInfo {
  std::string_view name;
  AttributeType type;
  std::string_view doc;
  size_t offset;
  double default_value = 0;
  std::vector<std::string_view> choices;  // of type choice; the value is the index
  std::string_view axis;                  // the axis letter this integer gives the size of, if any
  bool is_required = false;

  AttributeInfo& sets_axis(std::string_view letter) {
    axis = letter;
    return *this;
  }
  AttributeInfo& required() {
    is_required = true;
    return *this;
  }
};

struct OpInfo {
  std::string_view name, summary;
  int index = -1;  // in AllOps
  std::vector<FieldInfo> fields;
  std::vector<AttributeInfo> attributes;
  size_t size = 0;                     // of the struct, which is trivially copyable
  void (*construct)(void*) = nullptr;  // default values into `size` bytes
  double (*flops)(const void*) = nullptr;

  static Tensor& tensor(void* op, const FieldInfo& field) {
    return *reinterpret_cast<Tensor*>(static_cast<std::byte*>(op) + field.offset);
  }
  static const Tensor& tensor(const void* op, const FieldInfo& field) {
    return *reinterpret_cast<const Tensor*>(static_cast<const std::byte*>(op) + field.offset);
  }
  // An attribute as the bits of its field: a float, an int64_t (integer, choice) or a bool.
  template <class T>
  static T& value(void* op, const AttributeInfo& attribute) {
    return *reinterpret_cast<T*>(static_cast<std::byte*>(op) + attribute.offset);
  }
  template <class T>
  static const T& value(const void* op, const AttributeInfo& attribute) {
    return *reinterpret_cast<const T*>(static_cast<const std::byte*>(op) + attribute.offset);
  }

  const AttributeInfo* find_attribute(std::string_view attribute) const;
  // Memory traffic if every tensor is touched once: what is read, plus what is written, in bytes.
  double bytes(const void* op) const;
  // The dtype of the op's compute fields (float32 where it has none).
  DType compute_type(const void* op) const;
};

// Checks that every tensor is there that must be, that ranks and sizes agree with the axes, that
// dtypes are allowed, that last dimensions are contiguous, and that an output overlaps only what it
// may alias. Throws ValueError naming op and field. Bindings and the diagnostic interceptor call
// it; hot paths do not.
void check(const OpInfo& info, const void* op);

// Collects an OpInfo from Op::visit.
template <class Op>
class Describer {
 public:
  explicit Describer(OpInfo& info) : info_(info) {}

  using Field = Tensor Op::*;
  FieldInfo& reads(std::string_view name, Field field, std::string_view axes,
                   std::string_view doc = {}) {
    return add(name, field, axes, doc, Role::reads);
  }
  FieldInfo& writes(std::string_view name, Field field, std::string_view axes,
                    std::string_view doc = {}) {
    return add(name, field, axes, doc, Role::writes);
  }
  FieldInfo& updates(std::string_view name, Field field, std::string_view axes,
                     std::string_view doc = {}) {
    return add(name, field, axes, doc, Role::updates);
  }
  FieldInfo& accumulates(std::string_view name, Field field, std::string_view axes,
                         std::string_view doc = {}) {
    return add(name, field, axes, doc, Role::accumulates);
  }
  AttributeInfo& attribute(std::string_view name, float Op::*member, std::string_view doc) {
    return add(name, AttributeType::number, doc, offset_of(member), double{defaults_.*member});
  }
  AttributeInfo& attribute(std::string_view name, int64_t Op::*member, std::string_view doc) {
    return add(name, AttributeType::integer, doc, offset_of(member),
               static_cast<double>(defaults_.*member));
  }
  AttributeInfo& attribute(std::string_view name, bool Op::*member, std::string_view doc) {
    return add(name, AttributeType::boolean, doc, offset_of(member), defaults_.*member ? 1.0 : 0.0);
  }
  // An enumeration of underlying type int64_t whose values are 0, 1, ... in the order of `choices`.
  template <class Enum>
  AttributeInfo& choice(std::string_view name, Enum Op::*member,
                        std::initializer_list<std::string_view> choices, std::string_view doc) {
    static_assert(sizeof(Enum) == sizeof(int64_t));
    auto& attribute = add(name, AttributeType::choice, doc, offset_of(member),
                          static_cast<double>(defaults_.*member));
    attribute.choices = choices;
    return attribute;
  }

 private:
  template <class Member>
  size_t offset_of(Member Op::*member) const {
    return static_cast<size_t>(reinterpret_cast<const char*>(&(defaults_.*member)) -
                               reinterpret_cast<const char*>(&defaults_));
  }
  FieldInfo& add(std::string_view name, Field field, std::string_view axes, std::string_view doc,
                 Role role) {
    info_.fields.push_back(
        {.name = name, .role = role, .axes = axes, .doc = doc, .offset = offset_of(field)});
    return info_.fields.back();
  }
  AttributeInfo& add(std::string_view name, AttributeType type, std::string_view doc, size_t offset,
                     double default_value) {
    info_.attributes.push_back(
        {.name = name, .type = type, .doc = doc, .offset = offset, .default_value = default_value});
    return info_.attributes.back();
  }

  OpInfo& info_;
  Op defaults_{};
};

template <class Op>
OpInfo describe() {
  OpInfo info;
  info.name = Op::name;
  info.summary = Op::summary;
  info.size = sizeof(Op);
  info.construct = [](void* where) { new (where) Op{}; };
  info.flops = [](const void* op) { return static_cast<const Op*>(op)->flops(); };
  Describer<Op> describer(info);
  Op::visit(describer);
  return info;
}

}  // namespace msltx::ops
