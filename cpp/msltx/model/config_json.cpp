// A GPTConfig as JSON, and JSON (or a dict of Python, or a group of YAML) as a GPTConfig.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <type_traits>
#include <utility>

#include "msltx/base/error.h"
#include "msltx/model/config.h"
#include "msltx/model/config_fields.h"

namespace msltx::model {
namespace {

using nlohmann::json;

constexpr std::string_view kNoPositions = "none";

template <class T>
concept Choice = std::is_enum_v<T>;

std::string join(const auto& names, std::string_view between) {
  std::string text;
  for (const auto& name : names) text += concat(text.empty() ? "" : between, name);
  return text;
}

// The value as it stands in the file, cut where it is long.
std::string shown(const json& value) {
  constexpr size_t kLongest = 60;
  if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    return std::isnan(value.get<double>()) ? "nan" : concat(value.get<double>());
  }
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  return text.size() > kLongest ? text.substr(0, kLongest) + "..." : text;
}

// What a field takes, in words, by the type of its member.
std::string takes(const Field& f, const int64_t&) { return "an integer " + limits(f); }
std::string takes(const Field& f, const double&) { return "a number " + limits(f); }
std::string takes(const Field&, const bool&) { return "true or false"; }
std::string takes(const Field&, const Switch&) { return "true or false"; }
std::string takes(const Field&, const Choice auto& value) {
  return "one of " + join(words(value), ", ");
}
std::string takes(const Field&, const PositionSet&) {
  return concat(kNoPositions, ", or one or a list of ", join(words(Position{}), ", "));
}
std::string takes(const Field& f, const std::vector<int64_t>&) {
  return concat("null, an integer ", limits(f), ", or a list of these");
}
template <class Group>
std::string names_of() {
  Group group;
  std::vector<std::string_view> names;
  visit_fields(group, [&](const Field& f, auto&) { names.push_back(f.name); });
  return join(names, ", ");
}
std::string takes(const Field&, const BiasGroups&) {
  return concat("true, false, or an object of ", names_of<BiasGroups>());
}
std::string takes(const Field&, const RopeScaling&) {
  return concat("null or an object of ", names_of<RopeScaling>());
}

// ---- from a member to JSON ----

json write(const Field& f, int64_t value) {
  return value == 0 && !f.otherwise.empty() ? json() : json(value);
}
json write(const Field& f, double value) {
  return value == 0 && !f.otherwise.empty() ? json() : json(value);
}
json write(const Field&, bool value) { return value; }
json write(const Field&, const Switch& value) { return value.said() ? json(bool{value}) : json(); }
json write(const Field&, Choice auto value) { return word_of(value); }
json write(const Field&, const PositionSet& set) {
  json list = json::array();
  for (size_t i = 0; i < words(Position{}).size(); ++i) {
    const auto p = static_cast<Position>(i);
    if (set.has(p)) list.push_back(word_of(p));
  }
  return list;
}
json write(const Field& f, const std::vector<int64_t>& values) {
  if (values.size() == 1) return write(f, values[0]);
  json list = json::array();
  for (int64_t value : values) list.push_back(write(f, value));
  return values.empty() ? json() : list;
}
json write(const Field&, const BiasGroups& bias);
json write(const Field&, const RopeScaling& scaling);
template <class Group>
json write_group(const Group& group) {
  json object = json::object();
  visit_fields(group, [&](const Field& f, const auto& value) { object[f.name] = write(f, value); });
  return object;
}
json write(const Field&, const BiasGroups& bias) { return write_group(bias); }
json write(const Field&, const RopeScaling& scaling) {
  return scaling.kind == RopeScalingKind::none ? json() : write_group(scaling);
}

// ---- from JSON to a member ----

// Letters to add, drop or change on the way from one word to the other (Levenshtein 1966).
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (size_t i = 0; i < a.size(); ++i) {
    size_t corner = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t change = corner + (a[i] == b[j] ? 0 : 1);
      corner = row[j + 1];
      row[j + 1] = std::min({change, row[j] + 1, corner + 1});
    }
  }
  return row.back();
}

bool contains_word(std::string_view words, std::string_view word) {
  for (size_t at = 0; at < words.size();) {
    const size_t end = std::min(words.find(' ', at), words.size());
    if (words.substr(at, end - at) == word) return true;
    at = end + 1;
  }
  return false;
}

template <class Group>
std::string_view canonical(std::string_view name) {
  std::string_view found;
  Group group;
  visit_fields(group, [&](const Field& f, auto&) {
    if (f.name == name || contains_word(f.other_names, name)) found = f.name;
  });
  return found;
}

// Reads the fields of one object; `prefix` is "" or the enclosing field with a dot.
class Reader {
 public:
  Reader(const json& object, std::string prefix) : object_(object), prefix_(std::move(prefix)) {}

  template <class Group>
  void read(Group& group) const {
    for (const auto& [key, value] : object_.items()) refuse_unknown<Group>(key);
    visit_fields(group, *this);
  }

  template <class T>
  void operator()(const Field& f, T& member) const {
    const auto it = object_.find(f.name);
    if (it == object_.end()) {
      if (f.required)
        throw ValueError(concat(prefix_, f.name, " is missing; it takes ", takes(f, member)));
      return;
    }
    if (it->is_null() && (!f.otherwise.empty() || std::is_same_v<T, PositionSet>)) {
      member = T{};
    } else if (!assign(f, *it, member)) {
      throw ValueError(
          concat(prefix_, f.name, " is ", shown(*it), "; it takes ", takes(f, member)));
    }
  }

 private:
  template <class Group>
  void refuse_unknown(const std::string& key) const {
    Group group;
    std::string nearest;
    size_t least = std::max<size_t>(2, key.size() / 3) + 1;
    bool known = false;
    visit_fields(group, [&](const Field& f, auto&) {
      known = known || f.name == key;
      const size_t d = distance(f.name, key);
      if (d < least) {
        least = d;
        nearest = f.name;
      }
    });
    if (known) return;
    const std::string what = concat("unknown field ", prefix_, key);
    const std::string_view here = canonical<Group>(key);
    if (!here.empty()) throw ValueError(concat(what, "; it is called ", prefix_, here, " here"));
    if (!nearest.empty()) throw ValueError(concat(what, "; did you mean ", prefix_, nearest, "?"));
    throw ValueError(concat(what, "; the fields are ", names_of<Group>()));
  }

  static bool within(const Field& f, double value) { return value >= f.least && value <= f.most; }
  static bool assign(const Field& f, const json& value, int64_t& member) {
    if (!value.is_number_integer() || !within(f, value.get<double>())) return false;
    member = value.get<int64_t>();
    return true;
  }
  static bool assign(const Field& f, const json& value, double& member) {
    if (!value.is_number()) return false;
    const bool none = f.or_zero && value.get<double>() == 0;
    if (!none && !within(f, value.get<double>())) return false;
    member = value.get<double>();
    return true;
  }
  static bool assign(const Field&, const json& value, bool& member) {
    if (value.is_boolean()) member = value.get<bool>();
    return value.is_boolean();
  }
  static bool assign(const Field&, const json& value, Switch& member) {
    if (value.is_boolean()) member = value.get<bool>();
    return value.is_boolean();
  }
  static bool assign(const Field&, const json& value, Choice auto& member) {
    if (!value.is_string()) return false;
    const auto known = words(member);
    const auto it = std::find(known.begin(), known.end(), value.get_ref<const std::string&>());
    if (it == known.end()) return false;
    member = static_cast<std::remove_cvref_t<decltype(member)>>(it - known.begin());
    return true;
  }
  static bool assign(const Field& f, const json& value, PositionSet& member) {
    const json list = value.is_string() ? json::array({value}) : value;
    if (!list.is_array()) return false;
    member = {};
    if (list.size() == 1 && list[0] == kNoPositions) return true;
    for (const json& word : list) {
      Position p{};
      if (!assign(f, word, p)) return false;
      member.insert(p);
    }
    return true;
  }
  static bool assign(const Field& f, const json& value, std::vector<int64_t>& member) {
    const json list = value.is_array() ? value : json::array({value});
    member.assign(list.size(), 0);
    for (size_t i = 0; i < list.size(); ++i) {
      if (!list[i].is_null() && !assign(f, list[i], member[i])) return false;
    }
    if (std::all_of(member.begin(), member.end(), [](int64_t w) { return w == 0; })) member.clear();
    return true;
  }
  bool assign(const Field& f, const json& value, BiasGroups& member) const {
    if (value.is_boolean()) {
      member = value.get<bool>() ? BiasGroups{} : BiasGroups::none();
      return true;
    }
    return assign_group(f, value, member);
  }
  bool assign(const Field& f, const json& value, RopeScaling& member) const {
    return assign_group(f, value, member);
  }
  template <class Group>
  bool assign_group(const Field& f, const json& value, Group& member) const {
    if (!value.is_object()) return false;
    Group group;
    Reader(value, concat(prefix_, f.name, ".")).read(group);
    member = group;
    return true;
  }

  const json& object_;
  std::string prefix_;
};

bool gives(const json& fields, const GPTConfig& config) {
  try {
    return config_from_json(fields) == config;
  } catch (const ValueError&) {
    return false;
  }
}

// Takes out of `part`, which is `all` or an object in it, what is not needed to give `config`.
void drop_inessential(const GPTConfig& config, const json& all, json& part) {
  std::vector<std::string> names;
  for (const auto& [name, value] : part.items()) names.push_back(name);
  for (const std::string& name : names) {
    if (part[name].is_object()) drop_inessential(config, all, part[name]);
    json value = std::move(part[name]);
    part.erase(name);
    if (!gives(all, config)) part[name] = std::move(value);
  }
}

}  // namespace

json config_to_json(const GPTConfig& config) { return write_group(config); }

GPTConfig config_from_json(const json& fields) {
  if (!fields.is_object()) {
    throw ValueError(
        concat("a configuration is ", shown(fields), "; it takes an object of fields"));
  }
  GPTConfig config;
  Reader(fields, "").read(config);
  return complete(std::move(config));
}

json essential_fields(const GPTConfig& config) {
  json fields = config_to_json(config);
  drop_inessential(config, fields, fields);
  return fields;
}

std::string differences(const GPTConfig& there, const GPTConfig& here) {
  const json all = config_to_json(there), ours = config_to_json(here);
  std::vector<std::string> fields;
  const auto compare = [&](const std::string& name, const json& a, const json& b) {
    if (a == b) return;
    fields.push_back(concat(name, " is ", shown(a), " there and ", shown(b), " here"));
  };
  visit_fields(here, [&](const Field& f, const auto&) {
    const std::string name(f.name);
    const json &a = all.at(name), &b = ours.at(name);
    if (!a.is_object() || !b.is_object()) return compare(name, a, b);
    for (const auto& [inner, value] : a.items()) {
      compare(concat(name, ".", inner), value, b.at(inner));
    }
  });
  return join(fields, ", ");
}

GPTConfig with_changes(const GPTConfig& config, const json& changes) {
  json fields = essential_fields(config);
  fields.update(changes);
  return config_from_json(fields);
}

std::string_view field_called(std::string_view name) { return canonical<GPTConfig>(name); }

std::vector<FieldDescription> describe_fields() {
  std::vector<FieldDescription> lines;
  const auto describe = [&](auto& group, const std::string& prefix, const auto& self) -> void {
    visit_fields(group, [&](const Field& f, auto& member) {
      std::string otherwise(f.otherwise);
      if (f.required) otherwise = "required";
      if constexpr (std::is_same_v<std::remove_cvref_t<decltype(member)>, BiasGroups>) {
        otherwise = "true";
      }
      if (otherwise.empty()) {
        const json value = write(f, member);
        otherwise = value.is_string() ? value.get<std::string>() : value.dump();
      }
      lines.push_back(
          {prefix + std::string(f.name), takes(f, member), otherwise, std::string(f.meaning)});
      if constexpr (requires { visit_fields(member, [](const Field&, auto&) {}); }) {
        self(member, concat(prefix, f.name, "."), self);
      }
    });
  };
  GPTConfig config;
  describe(config, "", describe);
  return lines;
}

}  // namespace msltx::model
