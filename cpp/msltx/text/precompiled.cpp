// The normalizer Precompiled: SentencePiece's table applied the way the Hugging Face library does.
#include <utf8proc.h>

#include "msltx/base/error.h"
#include "msltx/text/charsmap.h"
#include "msltx/text/hf_unicode.h"
#include "msltx/text/normalizer.h"

namespace msltx::text {
namespace {

using Change = AlignedText::Change;

// Clusters of this many bytes and more are looked up character by character.
constexpr size_t kLongCluster = 6;

// The end of the grapheme cluster at p.
const char* cluster_end(const char* p, const char* end) {
  utf8proc_int32_t state = 0;
  char32_t c = decode_utf8(p);
  while (p < end) {
    if (c >= 0x20 && c < 0x7F && static_cast<signed char>(*p) >= 0) return p;  // both plain ASCII
    const char* after = p;
    const char32_t next = decode_utf8(after);
    bool breaks = utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(c),
                                                   static_cast<utf8proc_int32_t>(next), &state);
    // The library knows other marks than utf8proc does; no mark joins a control.
    const auto kind = utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->boundclass;
    const bool control = kind == UTF8PROC_BOUNDCLASS_CONTROL || kind == UTF8PROC_BOUNDCLASS_CR ||
                         kind == UTF8PROC_BOUNDCLASS_LF;
    const auto next_kind = utf8proc_get_property(static_cast<utf8proc_int32_t>(next))->boundclass;
    if (hf::is(next, hf::HfClass::joins)) {
      breaks = control;
    } else if (next_kind == UTF8PROC_BOUNDCLASS_EXTEND ||
               next_kind == UTF8PROC_BOUNDCLASS_SPACINGMARK) {
      breaks = true;
    }
    if (breaks) return p;
    c = next;
    p = after;
  }
  return end;
}

size_t characters_of(std::string_view text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

class Precompiled final : public Normalizer {
 public:
  explicit Precompiled(std::string bytes) : map_(std::move(bytes)) {}

  void normalize(AlignedText& text) const override {
    std::vector<Change> changes;
    changes.reserve(text.text().size());
    bool modified = false;
    const char* p = text.text().data();
    const char* const end = p + text.text().size();
    while (p < end) {
      const char* const after = cluster_end(p, end);
      const std::string_view cluster(p, static_cast<size_t>(after - p));
      const auto whole = cluster.size() < kLongCluster ? map_.shortest(cluster) : std::nullopt;
      if (whole) {
        // The whole cluster goes, even where only its beginning is in the table.
        replace(changes, characters_of(cluster), whole->replacement);
        modified = true;
      } else {
        for (const char* q = p; q < after;) {
          const char* const begin = q;
          const char32_t c = decode_utf8(q);
          if (const auto one = map_.shortest({begin, static_cast<size_t>(q - begin)})) {
            replace(changes, 1, one->replacement);
            modified = true;
          } else {
            changes.push_back({c, 0});
          }
        }
      }
      p = after;
    }
    if (modified) text.transform(changes);
  }

 private:
  static void replace(std::vector<Change>& changes, size_t old_count, std::string_view made) {
    const char* p = made.data();
    const char* const end = p + made.size();
    while (p < end) changes.push_back({decode_utf8(p), 0});
    const auto difference =
        static_cast<int64_t>(characters_of(made)) - static_cast<int64_t>(old_count);
    if (difference > 0) {
      for (size_t i = 0; i < static_cast<size_t>(difference); ++i) {
        changes[changes.size() - 1 - i].change = 1;
      }
    } else if (difference < 0 && !changes.empty()) {
      changes.back().change += static_cast<int32_t>(difference);
    }
  }

  Charsmap map_;
};

constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::string from_base64(const std::string& text, const char* key) {
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  size_t size = text.size();
  while (size > 0 && text[size - 1] == '=') --size;
  for (size_t i = 0; i < size; ++i) {
    const size_t value = kBase64.find(text[i]);
    if (value == std::string_view::npos) {
      throw ValueError(concat("has ", key, " with byte ", i, " that is not base64"));
    }
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out.push_back(static_cast<char>(bits >> count & 0xFF));
    }
  }
  return out;
}

std::string to_base64(std::string_view bytes) {
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    const size_t n = std::min<size_t>(3, bytes.size() - i);
    for (size_t k = 0; k < 3; ++k) {
      bits = bits << 8 | (k < n ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    }
    for (size_t k = 0; k < 4; ++k) {
      out.push_back(k <= n ? kBase64[bits >> (18 - 6 * k) & 63] : '=');
    }
  }
  return out;
}

std::unique_ptr<const Normalizer> make_precompiled(std::string charsmap) {
  return std::make_unique<Precompiled>(std::move(charsmap));
}

}  // namespace msltx::text
