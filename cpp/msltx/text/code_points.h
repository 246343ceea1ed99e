// CodePoints: a set of Unicode code points, as classes of regular expressions are made of. Never
// has a surrogate, which valid UTF-8 has no place for.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace msltx::text {

struct CodePointRange {
  char32_t first, last;  // both belong
};

class CodePoints {
 public:
  CodePoints() = default;
  CodePoints(char32_t first, char32_t last);
  // Those that belongs(c) holds for: a look at every code point there is.
  static CodePoints where(const std::function<bool(char32_t)>& belongs);
  // `count` ranges in order that neither overlap nor touch.
  static CodePoints of(const CodePointRange* ranges, size_t count);

  bool empty() const { return ranges_.empty(); }
  bool has(char32_t c) const;
  const std::vector<CodePointRange>& ranges() const { return ranges_; }

  CodePoints& operator|=(const CodePoints& other);
  CodePoints operator&(const CodePoints& other) const;
  CodePoints operator~() const;

  // "[\x{41}-\x{5A}]" for PCRE2, "[^...]" of all others; what matches nothing where that is empty.
  std::string pattern(bool others = false) const;

 private:
  std::vector<CodePointRange> ranges_;
};

}  // namespace msltx::text
