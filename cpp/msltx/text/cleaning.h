// Cleaning: what may be done to text before it becomes tokens. Off unless asked for; each step is
// an option, applied in the order of the fields and recorded where the cleaned text ends up.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "msltx/text/normal_form.h"

namespace msltx::text {

struct Cleaning {
  // Control characters (general category Cc) that are no white space go.
  bool control = false;
  // One of the Unicode normalization forms. Where a later step but `whitespace` has changed the
  // text, the form is applied again after that step, so that the result is in it.
  NormalForm form = NormalForm::none;
  // Characters are decomposed (NFD), nonspacing marks (Mn) go, and what is left is composed again
  // (NFC), or stays apart where `form` is nfd or nfkd. Latin text loses its accents; scripts that
  // write vowels as marks lose those.
  bool accents = false;
  // Every character's lowercase, without context (as the Hugging Face normalizer "Lowercase").
  bool lowercase = false;
  // Punctuation (general categories P*) goes; symbols such as $ and + stay.
  bool punctuation = false;
  // CRLF and CR become LF; every other run of white space (Unicode White_Space) becomes one space;
  // spaces at the beginning and the end of a line go. Empty lines stay.
  bool whitespace = false;

  bool any() const {
    return control || form != NormalForm::none || accents || lowercase || punctuation || whitespace;
  }
  bool operator==(const Cleaning&) const = default;
};

// Valid UTF-8 in, valid UTF-8 out.
std::string clean(std::string_view text, const Cleaning& cleaning);

// One step of a cleaning: its name, as options and meta.json call it, and a cleaning of it alone.
struct CleaningStep {
  std::string name;  // "remove_control", "normalize_unicode", ...
  Cleaning alone;
};

// The steps that a cleaning has, in the order in which clean() applies them. `accents` alone keeps
// the form that it depends on.
std::vector<CleaningStep> steps_of(const Cleaning& cleaning);

}  // namespace msltx::text
