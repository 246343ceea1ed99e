#define PCRE2_CODE_UNIT_WIDTH 8
#include "msltx/text/regex.h"

#include <pcre2.h>

#include "msltx/base/error.h"
#include "msltx/text/regex_reader.h"

namespace msltx::text {
namespace {

std::string reason_of(int code) {
  unsigned char text[256];
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

// Up to this many bytes of stack a match may take; repeated groups take some for every round.
constexpr size_t kFirstStack = size_t{1} << 16;
constexpr size_t kLargestStack = size_t{1} << 28;

// Match data and its stack, for the time of a call.
struct MatchData {
  explicit MatchData(const pcre2_code* code)
      : data(pcre2_match_data_create_from_pattern(code, nullptr)) {}
  ~MatchData() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
  MatchData(const MatchData&) = delete;
  MatchData& operator=(const MatchData&) = delete;

  // A stack that grows, instead of the 32 KiB that compiled expressions have; false where it is
  // there already or there is no memory.
  bool take_stack() {
    if (context) return false;
    context = pcre2_match_context_create(nullptr);
    stack = pcre2_jit_stack_create(kFirstStack, kLargestStack, nullptr);
    if (!context || !stack) return false;
    pcre2_jit_stack_assign(context, nullptr, stack);
    return true;
  }

  pcre2_match_data* data;
  pcre2_match_context* context = nullptr;
  pcre2_jit_stack* stack = nullptr;
};

}  // namespace

struct Regex::Compiled {
  pcre2_code* code = nullptr;
  ~Compiled() { pcre2_code_free(code); }
};

Regex::Regex(std::string_view expression)
    : expression_(expression), compiled_(std::make_unique<Compiled>()) {
  const std::string rewritten = rewrite_regex(expression);
  // Ruby's ^ and $ always stand at lines.
  constexpr uint32_t kOptions = PCRE2_UTF | PCRE2_NO_UTF_CHECK | PCRE2_MULTILINE;
  int code = 0;
  size_t place = 0;
  compiled_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(rewritten.data()), rewritten.size(),
                                  kOptions, &code, &place, nullptr);
  if (!compiled_->code) {
    ExpressionReader(expression).refuse("cannot be read: ", reason_of(code));
  }
  // Without JIT (another processor) PCRE2 interprets.
  pcre2_jit_compile(compiled_->code, PCRE2_JIT_COMPLETE);
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

void Regex::find_all(std::string_view text, std::vector<TextSpan>& matches) const {
  MatchData match(compiled_->code);
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  size_t from = 0;
  bool any = false;
  size_t last_end = 0;
  while (from <= text.size()) {
    const int found = pcre2_match(compiled_->code, subject, text.size(), from, PCRE2_NO_UTF_CHECK,
                                  match.data, match.context);
    if (found == PCRE2_ERROR_NOMATCH) return;
    if (found == PCRE2_ERROR_JIT_STACKLIMIT && match.take_stack()) continue;
    if (found < 0) {
      throw ValueError(
          concat("the expression ", expression_, " cannot be matched: ", reason_of(found)));
    }
    const size_t* const place = pcre2_get_ovector_pointer(match.data);
    const size_t begin = place[0], end = place[1];
    // \K in a group that a lookaround calls: matches would overlap, and the search never end.
    if (begin < from || end < begin) {
      throw ValueError(concat("the expression ", expression_,
                              " cannot be matched: \\K moves the beginning of a match out of it"));
    }
    // An empty match right where the last one ended does not count.
    if (begin == end && any && end == last_end) {
      do {
        ++from;
      } while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80);
      continue;
    }
    matches.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end)});
    any = true;
    last_end = from = end;
  }
}

}  // namespace msltx::text
