#include "msltx/text/normal_forms.h"

#include <utf8proc.h>

#include <algorithm>
#include <optional>

#include "msltx/text/hf_unicode.h"

namespace msltx::text {
namespace {

using Change = AlignedText::Change;

// Below it nothing decomposes and nothing has a place in canonical order.
constexpr char32_t kFirstCompatible = 0xA0;
// The first character that can join one before it.
constexpr char32_t kFirstJoining = 0x300;

bool known(char32_t c) { return c >= kFirstCompatible && hf::is(c, hf::HfClass::normalizes); }

int combining_class(char32_t c) {
  if (!known(c)) return 0;
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class;
}

// The full decomposition of one character, appended.
void decompose(char32_t c, bool compatible, std::vector<char32_t>& out) {
  const bool hangul = c >= 0xAC00 && c < 0xD7A4;
  if (!known(c) && !hangul) {
    out.push_back(c);
    return;
  }
  utf8proc_int32_t made[32];
  int last = 0;
  const int options = UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0);
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), made, 32,
                                             static_cast<utf8proc_option_t>(options), &last);
  for (utf8proc_ssize_t i = 0; i < count; ++i) out.push_back(static_cast<char32_t>(made[i]));
}

std::optional<char32_t> compose(char32_t a, char32_t b) {
  if (b < kFirstJoining) return std::nullopt;
  utf8proc_int32_t pair[2] = {static_cast<utf8proc_int32_t>(a), static_cast<utf8proc_int32_t>(b)};
  const auto count = utf8proc_normalize_utf32(
      pair, 2, static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  if (count != 1) return std::nullopt;
  const auto made = static_cast<char32_t>(pair[0]);
  const bool hangul = made >= 0xAC00 && made < 0xD7A4;
  if (!hangul && !known(made)) return std::nullopt;  // a younger character
  return made;
}

// Decomposed, in canonical order. Each character keeps its change: 0 for the first one of a
// character's decomposition, 1 for the others.
std::vector<Change> decomposed(const AlignedText& text, bool compatible) {
  std::vector<Change> out;
  out.reserve(text.text().size());
  std::vector<std::pair<int, Change>> pending;  // with their classes
  const auto flush = [&] {
    std::stable_sort(pending.begin(), pending.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (const auto& [order, change] : pending) out.push_back(change);
    pending.clear();
  };
  std::vector<char32_t> parts;
  text.for_each([&](char32_t c) {
    if (c < kFirstCompatible) {
      if (!pending.empty()) flush();
      out.push_back({c, 0});
      return;
    }
    parts.clear();
    decompose(c, compatible, parts);
    for (size_t i = 0; i < parts.size(); ++i) {
      const int order = combining_class(parts[i]);
      const Change change{parts[i], i == 0 ? 0 : 1};
      if (order == 0) {
        flush();
        out.push_back(change);
      } else {
        pending.push_back({order, change});
      }
    }
  });
  flush();
  return out;
}

// What goes into one character adds up its changes, less the one that it now stands for.
std::vector<Change> composed(const std::vector<Change>& in) {
  std::vector<Change> out, blocked;
  std::optional<Change> starter;
  int last_class = -1;  // of what stands between the starter and here; -1: nothing
  const auto flush = [&] {
    if (starter) out.push_back(*starter);
    out.insert(out.end(), blocked.begin(), blocked.end());
    blocked.clear();
    last_class = -1;
  };
  for (const Change& change : in) {
    const int order = combining_class(change.character);
    if (!starter) {
      if (order == 0) {
        starter = change;
      } else {
        out.push_back(change);
      }
      continue;
    }
    if (last_class < order) {
      if (const auto made = compose(starter->character, change.character)) {
        starter = Change{*made, starter->change + change.change - 1};
        continue;
      }
    }
    if (order == 0) {
      flush();
      starter = change;
    } else {
      blocked.push_back(change);
      last_class = order;
    }
  }
  flush();
  return out;
}

}  // namespace

void normalize(AlignedText& text, NormalForm form) {
  const std::string& bytes = text.text();
  const bool ascii = std::all_of(bytes.begin(), bytes.end(),
                                 [](char c) { return static_cast<signed char>(c) >= 0; });
  if (ascii || form == NormalForm::none) return;
  const bool compatible = form == NormalForm::nfkc || form == NormalForm::nfkd;
  std::vector<Change> changes = decomposed(text, compatible);
  if (form == NormalForm::nfc || form == NormalForm::nfkc) changes = composed(changes);
  text.transform(changes);
}

}  // namespace msltx::text
