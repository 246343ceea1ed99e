#include "ops/op_cases/cases.h"

#include <algorithm>

#include "msltx/base/error.h"
#include "ops/op_cases/spec.h"

namespace msltx::ops::op_cases {

std::vector<Sizes> each(std::vector<std::string_view> letters) {
  std::vector<Sizes> list;
  for (int64_t size : {1, 2, 3, 17, 511, 512, 513, 1023, 1024, 1025, 2047, 2048, 2049}) {
    Sizes sizes;
    for (std::string_view letter : letters) sizes.push_back({letter, size});
    list.push_back(sizes);
  }
  return list;
}

std::vector<Sizes> lengths() {
  std::vector<Sizes> list = each({"T"});
  for (Sizes& sizes : list) sizes.push_back({"S", sizes[0].second + 4});
  return list;
}

namespace {

const std::vector<Spec>& table() {
  static const std::vector<Spec> all = [] {
    std::vector<Spec> list;
    for (const auto& specs : {layer_specs, attention_specs, output_specs, family_specs}) {
      for (Spec& spec : specs()) list.push_back(std::move(spec));
    }
    return list;
  }();
  return all;
}

Case make(const Spec& spec, const Sizes& replaced, const Variant& variant, bool strided) {
  Case c{spec.base, variant.attributes, variant.omit, variant.inputs, strided};
  for (const auto& [letter, size] : replaced) {
    for (auto& entry : c.sizes) {
      if (entry.first == letter) entry.second = size;
    }
  }
  // Query heads share key heads evenly.
  for (auto& [letter, size] : c.sizes) {
    if (letter == "nkv" && c.size("nh") > 0 && c.size("nh") % size != 0) size = c.size("nh");
  }
  return c;
}

}  // namespace

int64_t Case::size(std::string_view letter) const {
  for (const auto& entry : sizes) {
    if (entry.first == letter) return entry.second;
  }
  return -1;
}

int64_t Case::largest_size() const {
  int64_t largest = 0;
  for (const auto& entry : sizes) largest = std::max(largest, entry.second);
  return largest;
}

bool Case::omits(std::string_view field) const {
  return std::find(omit.begin(), omit.end(), field) != omit.end();
}

std::string Case::describe() const {
  std::string text;
  for (const auto& [letter, size] : sizes) text += concat(letter, "=", size, " ");
  for (const auto& [name, value] : attributes) text += concat(name, "=", value, " ");
  for (std::string_view field : omit) text += concat("without ", field, " ");
  if (!inputs.empty()) text += concat("\"", inputs, "\" ");
  if (bfloat16) text += concat("bfloat16 wide=", wide, " ");
  return text + (strided ? "strided" : "contiguous");
}

std::vector<Case> cases_of(const OpInfo& info) {
  for (const Spec& spec : table()) {
    if (spec.op != info.name) continue;
    std::vector<Case> cases;
    for (const Variant& variant : spec.variants) {
      for (bool strided : {false, true}) cases.push_back(make(spec, {}, variant, strided));
    }
    size_t turn = 0;
    for (const auto& list : spec.shapes) {
      for (const Sizes& replaced : list) {
        const Variant& variant = spec.variants[turn % spec.variants.size()];
        cases.push_back(make(spec, replaced, variant, turn / spec.variants.size() % 2 == 1));
        ++turn;
      }
    }
    // Of rows and sequences there may be none, but for those of which others are picked.
    for (const auto& [letter, size] : spec.base) {
      if ((letter != "N" && letter != "B") || spec.op == "kv_cache_gather") continue;
      for (const Variant& variant : spec.variants) {
        if (variant.inputs.empty()) cases.push_back(make(spec, {{letter, 0}}, variant, false));
      }
    }
    return cases;
  }
  throw ValueError(concat("there are no cases for the op ", info.name));
}

DType type_of(const OpInfo& info, const Case& c, const FieldInfo& field) {
  if (field.element == Element::int32) return DType::int32;
  if (!field.chosen_by.empty()) {
    for (const auto& [name, value] : c.attributes) {
      if (name == field.chosen_by) return value == 0 ? DType::float32 : DType::bfloat16;
    }
  }
  if (!c.bfloat16 || field.element == Element::float32) return DType::float32;
  if (field.element == Element::compute) return DType::bfloat16;
  if (!field.type_of.empty()) return type_of(info, c, *info.find_field(field.type_of));
  unsigned bit = 1;
  for (const FieldInfo& other : info.fields) {
    if (&other == &field) break;
    if (other.element == Element::wide && other.type_of.empty()) bit <<= 1;
  }
  return (c.wide & bit) != 0 ? DType::float32 : DType::bfloat16;
}

std::vector<Case> bfloat16_cases_of(const OpInfo& info) {
  if (!info.has_compute_type()) return {};
  std::vector<Case> cases = cases_of(info);
  unsigned wide = 0;
  for (Case& c : cases) {
    c.bfloat16 = true;
    c.wide = wide++;
    const bool any = std::any_of(info.fields.begin(), info.fields.end(), [&](const FieldInfo& f) {
      return !c.omits(f.name) && type_of(info, c, f) == DType::bfloat16;
    });
    if (!any) c.wide = 0;
  }
  return cases;
}

}  // namespace msltx::ops::op_cases
