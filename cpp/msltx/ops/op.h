// How an op describes itself. An op is a plain struct of tensors and attributes with
//
//   static constexpr std::string_view name, summary;
//   template <class V> static void visit(V& v);   // says of each field its role, axes, dtype ...
//   double flops() const;
//
// Everything else that must know an op's shape of call (the C++ call, the Python binding and stub,
// the documentation, the profiler, the plan) derives from that one description, through OpInfo.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "msltx/base/tensor.h"

namespace msltx::ops {

// Axis letters, used in every axes string, and what they mean.
struct AxisLetter {
  std::string_view letter, meaning;
};
inline constexpr AxisLetter kAxisLetters[] = {
    {"B", "batch (sequences)"},
    {"T", "length"},
    {"S", "source length (keys, places, positions)"},
    {"C", "embedding (inputs)"},
    {"O", "outputs"},
    {"F", "feed-forward"},
    {"nh", "heads"},
    {"nkv", "key/value heads"},
    {"hs", "head size"},
    {"V", "vocabulary"},
    {"M", "any count"},
    {"R", "buckets of distances"},
    {"N", "rows: any number of leading dimensions, none included"},
    {"P", "partial sums, one per partial_rows rows"},
};

enum class Role : uint8_t {
  reads,
  writes,
  updates,      // read and written in place
  accumulates,  // written, or added to where the op's `accumulate` attribute is set
};

enum class Element : uint8_t {
  compute,  // the op's compute type, the same for all its compute fields: float32 or bfloat16
  wide,     // float32 or the compute type: what joins the residual stream, and masters of weights
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
  // An attribute that is not at its default, or an optional input that is there: then an input is
  // needed, and only then an output made.
  std::string_view condition;
  std::string_view may_alias;  // input that this output may be the same memory as, if of its type
  std::string_view type_of;    // a wide field that this wide one has the type of
  std::string_view chosen_by;  // the attribute whose choice names this wide field's type
  // What the values of an int32 input lie in: from 0 up to a size such as "V" or "S - T", the size
  // itself included or not; and an attribute whose value is allowed besides.
  std::string_view limit;
  bool limit_included = false;
  std::string_view or_attribute;
  bool is_masked = false;          // -inf may stand in it, for what is hidden
  bool is_partly_written = false;  // anything may stand where nothing was written yet: a cache

  FieldInfo& optional() {
    is_optional = true;
    return *this;
  }
  FieldInfo& when(std::string_view attribute_or_input) {
    condition = attribute_or_input;
    return optional();
  }
  FieldInfo& below(std::string_view size) {
    limit = size;
    return *this;
  }
  FieldInfo& at_most(std::string_view size) {
    limit_included = true;
    return below(size);
  }
  FieldInfo& or_value_of(std::string_view attribute) {
    or_attribute = attribute;
    return *this;
  }
  FieldInfo& float32() {
    element = Element::float32;
    return *this;
  }
  FieldInfo& wide() {
    element = Element::wide;
    return *this;
  }
  FieldInfo& wide_like(std::string_view field) {
    type_of = field;
    return wide();
  }
  FieldInfo& wide_by(std::string_view attribute) {
    chosen_by = attribute;
    return wide();
  }
  FieldInfo& int32() {
    element = Element::int32;
    return *this;
  }
  FieldInfo& masked() {
    is_masked = true;
    return *this;
  }
  FieldInfo& partly_written() {
    is_partly_written = true;
    return *this;
  }
  FieldInfo& alias(std::string_view input) {
    may_alias = input;
    return *this;
  }
  bool is_output() const { return role != Role::reads; }
};

// number64 is for numbers whose distance from 1 matters: 1 - 0.999f is off by 1.3e-5 of itself.
enum class AttributeType : uint8_t { number, number64, integer, boolean, choice };

struct AttributeInfo {
  std::string_view name;
  AttributeType type;
  std::string_view doc;
  size_t offset;
  double default_value = 0;
  std::vector<std::string_view> choices;  // of type choice; the value is the index
  std::string_view axis;                  // the axis letter this integer gives the size of, if any
  bool is_required = false;
  double minimum = -std::numeric_limits<double>::infinity();
  double maximum = std::numeric_limits<double>::infinity();
  bool minimum_included = true, maximum_included = true;
  bool takes_zero = false;  // whatever the minimum is
  std::string_view limit;   // a size that the value may reach at most, such as "S - T"

  AttributeInfo& at_least(double value) {
    minimum = value;
    return *this;
  }
  AttributeInfo& or_zero() {
    takes_zero = true;
    return *this;
  }
  AttributeInfo& above(double value) {
    minimum_included = false;
    return at_least(value);
  }
  AttributeInfo& at_most(double value) {
    maximum = value;
    return *this;
  }
  AttributeInfo& below(double value) {
    maximum_included = false;
    return at_most(value);
  }
  AttributeInfo& at_most(std::string_view size) {
    limit = size;
    return *this;
  }
  // "above 0", "in [0, 1)", "0 or at least 1", "at least 0 and at most S - T"; empty where any
  // value will do.
  std::string range() const;

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
  // Pairs of axis letters: the first is a multiple of the second.
  std::vector<std::pair<std::string_view, std::string_view>> multiples;
  size_t size = 0;                     // of the struct, which is trivially copyable
  void (*construct)(void*) = nullptr;  // default values into `size` bytes
  double (*flops)(const void*) = nullptr;

  static Tensor& tensor(void* op, const FieldInfo& field) {
    return *reinterpret_cast<Tensor*>(static_cast<std::byte*>(op) + field.offset);
  }
  static const Tensor& tensor(const void* op, const FieldInfo& field) {
    return *reinterpret_cast<const Tensor*>(static_cast<const std::byte*>(op) + field.offset);
  }
  // An attribute as the bits of its field: a float, a double (number64), an int64_t (integer,
  // choice) or a bool.
  template <class T>
  static T& value(void* op, const AttributeInfo& attribute) {
    return *reinterpret_cast<T*>(static_cast<std::byte*>(op) + attribute.offset);
  }
  template <class T>
  static const T& value(const void* op, const AttributeInfo& attribute) {
    return *reinterpret_cast<const T*>(static_cast<const std::byte*>(op) + attribute.offset);
  }

  const AttributeInfo* find_attribute(std::string_view attribute) const;
  const FieldInfo* find_field(std::string_view field) const;
  // False for a field with a condition that the op does not meet.
  bool meets_condition(const void* op, const FieldInfo& field) const;
  // The type of a field with chosen_by.
  DType chosen_type(const void* op, const FieldInfo& field) const;
  // Memory traffic if every tensor is touched once: what is read, plus what is written, in bytes.
  double bytes(const void* op) const;
  // False for an op whose fields have one dtype each, such as adamw.
  bool has_compute_type() const;
  // bfloat16 where any compute or wide field is, else float32.
  DType compute_type(const void* op) const;
};

// Checks that every tensor is there that must be, that ranks and sizes agree with the axes, that
// dtypes are allowed, that last dimensions are contiguous, that an output overlaps only what it may
// alias, and that attributes are finite and in range. Throws ValueError naming op and field.
// Bindings and the diagnostic interceptor call it; hot paths do not.
void check(const OpInfo& info, const void* op);

// Checks an attribute by itself, as check() does.
void check_attribute(const OpInfo& info, const void* op, const AttributeInfo& attribute);

// Checks that the values of int32 inputs (ids, places, lengths), which are in host memory, lie in
// their limits: kernels use them as indices. Throws ValueError naming op, field, value and limit.
// Call it after check().
void check_indices(const OpInfo& info, const void* op);

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
  AttributeInfo& attribute(std::string_view name, double Op::*member, std::string_view doc) {
    return add(name, AttributeType::number64, doc, offset_of(member), defaults_.*member);
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
  void multiple_of(std::string_view letter, std::string_view divisor) {
    info_.multiples.emplace_back(letter, divisor);
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
