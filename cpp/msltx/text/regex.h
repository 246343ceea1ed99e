// Regex: regular expressions of tokenizer files, in Oniguruma's syntax (Ruby's) and run by PCRE2.
// Classes are those of our own Unicode 16.0 tables. Well-known patterns never come here:
// split_pattern.h has splitters for them.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "msltx/text/aligned_text.h"

namespace msltx::text {

class Regex {
 public:
  // Throws ValueError for an expression that cannot be read; the message ends with the reason.
  explicit Regex(std::string_view expression);
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
// Throws ValueError for what it does not know.
std::string rewrite_regex(std::string_view expression);

}  // namespace msltx::text
