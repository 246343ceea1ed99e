// RegexGroups: the groups of a regular expression that capture, who refers to them and who calls
// them. Groups may be named before they stand, so an expression is read twice.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "msltx/text/regex_reader.h"

namespace msltx::text {

class RegexGroups {
 public:
  // `known`: what a first reading has found; null in the first.
  RegexGroups(const ExpressionReader& in, const RegexGroups* known) : in_(in), known_(known) {}

  // A group without a name begins; false where it does not capture, because others have names.
  bool open();
  void open(std::string_view name);
  void close() { open_.pop_back(); }

  // Of those without a name, so far.
  int count() const { return count_; }

  // The number of the group that \1 or \k<name> refers to. Throws for one that is not there, and
  // for one that it stands in, which Oniguruma and PCRE2 read otherwise.
  int refer(const std::string& name);

  // The number of the group that \g<name> calls.
  int call(const std::string& name);

  // At the end. Throws where a group calls itself, which Oniguruma does 20 levels deep only, and
  // where there are both calls and references, of which PCRE2 takes back what calls have captured.
  void check() const;

 private:
  int number_of(const std::string& name) const;
  bool reaches(int from, int to) const;

  const ExpressionReader& in_;
  const RegexGroups* known_;
  int count_ = 0;
  std::map<std::string, int, std::less<>> numbers_;  // by name, where groups have names
  std::vector<int> open_;
  std::set<std::pair<int, int>> calls_;  // from a group, directly or from inside it, to another
  bool refers_ = false;
};

}  // namespace msltx::text
