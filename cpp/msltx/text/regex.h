// Regex: regular expressions of tokenizer files, on PCRE2. Character classes are those of Unicode
// 16.0 whatever PCRE2 knows: \p, \s, \w and \d become ranges of our own tables. Well-known patterns
// never come here: split_pattern.h has splitters for them.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "msltx/text/aligned_text.h"

namespace msltx::text {

// Which library an expression was written for, where they differ.
enum class RegexDialect : uint8_t {
  oniguruma,  // of tokenizer.json: ^ and $ stand at lines, "{1,3}+" repeats, \h is a hexadecimal
              // digit
  plain,      // of tiktoken and of options
};

class Regex {
 public:
  // Throws ValueError for an expression that cannot be read; the message ends with the reason.
  Regex(std::string_view expression, RegexDialect dialect);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  const std::string& expression() const { return expression_; }

  // Where it matches in valid UTF-8, from left to right, each match beginning after the one before
  // it. Appends. Throws ValueError where matching needs more steps or memory than PCRE2 allows.
  void find_all(std::string_view text, std::vector<TextSpan>& matches) const;

 private:
  struct Compiled;
  std::string expression_;
  std::unique_ptr<Compiled> compiled_;
};

// The expression with classes written out, for PCRE2 with UTF and without UCP.
std::string rewrite_regex(std::string_view expression, RegexDialect dialect);

}  // namespace msltx::text
