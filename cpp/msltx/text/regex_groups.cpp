#include "msltx/text/regex_groups.h"

#include <algorithm>

namespace msltx::text {

bool RegexGroups::open() {
  const bool captures = !known_ || known_->numbers_.empty();
  ++count_;
  open_.push_back(captures ? count_ : 0);
  return captures;
}

void RegexGroups::open(std::string_view name) {
  if (name.empty() || name.find_first_of("0123456789-+") == 0) {
    in_.refuse("has a group named \"", name, "\"; names begin with a letter");
  }
  const int number = static_cast<int>(numbers_.size()) + 1;
  if (!numbers_.try_emplace(std::string(name), number).second) {
    in_.refuse("has two groups named ", name, ", which is not supported");
  }
  open_.push_back(number);
}

int RegexGroups::refer(const std::string& name) {
  refers_ = true;
  const int number = number_of(name);
  if (known_ && std::find(open_.begin(), open_.end(), number) != open_.end()) {
    in_.refuse("refers to the group ", name, " from inside it, which is not supported");
  }
  return number;
}

int RegexGroups::call(const std::string& name) {
  if (name == "0") in_.refuse("calls itself, which is not supported");
  const int number = number_of(name);
  calls_.insert({0, number});
  for (const int group : open_) calls_.insert({group, number});
  return number;
}

void RegexGroups::check() const {
  if (!known_) return;
  if (!calls_.empty() && refers_) {
    in_.refuse("calls groups and refers to them, which is not supported");
  }
  for (const auto& [from, to] : calls_) {
    if (from > 0 && reaches(to, from))
      in_.refuse("has a group that calls itself, which is not supported");
  }
}

// Of the group of that name or number, which may count back from here.
int RegexGroups::number_of(const std::string& name) const {
  if (!known_) return 1;
  const auto found = known_->numbers_.find(name);
  if (found != known_->numbers_.end()) return found->second;
  const size_t sign = name.starts_with('-') ? 1 : 0;
  const bool is_number = name.size() > sign && name.size() < 6 &&
                         name.find_first_not_of("0123456789", sign) == std::string::npos;
  if (is_number && !known_->numbers_.empty()) {
    in_.refuse("refers to the group ", name, " by its number, though there are groups with names");
  }
  const int number = is_number ? std::stoi(name) + (sign > 0 ? count_ + 1 : 0) : 0;
  if (number < 1 || number > known_->count_) {
    in_.refuse("refers to the group ", name, ", which is none");
  }
  return number;
}

bool RegexGroups::reaches(int from, int to) const {
  std::set<int> seen{from};
  for (std::vector<int> left{from}; !left.empty();) {
    const int group = left.back();
    left.pop_back();
    if (group == to) return true;
    for (const auto& [caller, callee] : calls_) {
      if (caller == group && seen.insert(callee).second) left.push_back(callee);
    }
  }
  return false;
}

}  // namespace msltx::text
