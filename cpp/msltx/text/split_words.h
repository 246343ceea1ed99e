// The split patterns of later byte-level tokenizers: cl100k (GPT-4), llama3, qwen2, o200k (GPT-4o).
#pragma once

#include "msltx/text/split.h"

namespace msltx::text {

// What these patterns share beyond SplitTools.
struct WordSplitTools : SplitTools {
  static bool is_newline(char c) { return c == '\n' || c == '\r'; }

  // Bytes of a contraction at p, an apostrophe: 's 't 're 've 'm 'll 'd in any case; 0: none.
  static int contraction(const char* p, const char* end) {
    if (end - p < 2) return 0;
    const char a = lower(p[1]);
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if (end - p < 3) return 0;
    if (p[1] == '\xC5' && p[2] == '\xBF') return 3;  // U+017F, a long s: its other case is S
    const char b = lower(p[2]);
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return 3;
    return 0;
  }

  // Up to `most` numbers in all, q past the first one.
  static const char* numbers(const char* q, const char* end, int most) {
    for (int i = 1; i < most && q < end; ++i) {
      const char* after = q;
      if (take(after) != CharClass::number) break;
      q = after;
    }
    return q;
  }

  // \s*[\r\n]+|\s+(?!\S)|\s+ from p on, q past its first character. `whole`: white space at the end
  // of the text is one piece (\s++$ before the others).
  static const char* whitespace(const char* p, const char* q, const char* end, bool whole) {
    const char* last = p;
    const char* after_newline = is_newline(*p) ? q : nullptr;
    const char* after = q;
    while (q < end && take(after) == CharClass::space) {
      last = q;
      if (is_newline(*q)) after_newline = after;
      q = after;
    }
    if (q == end && whole) return end;
    if (after_newline) return after_newline;
    return q == end || last == p ? q : last;
  }

 private:
  static char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
};

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,kDigits}| ?[^\s\p{L}\p{N}]+[\r\n]*
// |\s*[\r\n]+|\s+(?!\S)|\s+, and with kWhole \s++$ before the white space.
template <int kDigits, bool kWhole>
struct WordSplit : WordSplitTools {
  static const char* next(const char* p, const char* end) {
    const char* q = p;
    const CharClass kind = take(q);
    if (kind == CharClass::letter) return run(q, end, CharClass::letter);
    if (kind == CharClass::number) return numbers(q, end, kDigits);
    if (*p == '\'') {
      if (const int length = contraction(p, end)) return p + length;
    }
    if (q < end) {
      const char* after = q;
      const CharClass next_kind = take(after);
      if (next_kind == CharClass::letter && !is_newline(*p)) {
        return run(after, end, CharClass::letter);
      }
      if (*p == ' ' && next_kind == CharClass::other) return others(after, end);
    }
    if (kind == CharClass::other) return others(q, end);
    return whitespace(p, q, end, kWhole);
  }

 private:
  static const char* others(const char* q, const char* end) {
    q = run(q, end, CharClass::other);
    while (q < end && is_newline(*q)) ++q;
    return q;
  }
};
using Llama3Split = WordSplit<3, false>;
using Cl100kSplit = WordSplit<3, true>;
using Qwen2Split = WordSplit<1, false>;

// With U = [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] and L = [\p{Ll}\p{Lm}\p{Lo}\p{M}]:
// [^\r\n\p{L}\p{N}]?U*L+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?U+L*(?i:...)?|\p{N}{1,3}
// | ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
struct O200kSplit : WordSplitTools {
  static const char* next(const char* p, const char* end) {
    const char* q = p;
    const CharClass kind = take(q);
    if (kind == CharClass::letter) {
      const Word word = word_at(p, end);
      return contracted(word.mixed ? word.mixed : word.upper, end);
    }
    if (kind == CharClass::number) return numbers(q, end, 3);
    if (!is_newline(*p) && q < end) {
      const Word word = word_at(q, end);
      if (word.mixed) return contracted(word.mixed, end);
      // A mark may begin a word too; alone it is a whole one.
      if (kind == CharClass::other && case_at(p) == Case::both) return contracted(q, end);
      if (word.upper != q) return contracted(word.upper, end);
    } else if (kind == CharClass::other && case_at(p) == Case::both) {
      return q;
    }
    if (kind == CharClass::other) return others(q, end);
    if (*p == ' ' && q < end) {
      const char* after = q;
      if (take(after) == CharClass::other) return others(after, end);
    }
    return whitespace(p, q, end, false);
  }

 private:
  enum class Case : uint8_t { none, upper, lower, both };  // in neither, U, L, both

  struct Word {
    const char* mixed;  // the end of U*L+; null: it does not match
    const char* upper;  // the end of U*
  };

  static Case case_at(const char* p) {
    const auto byte = static_cast<unsigned char>(*p);
    if (byte < 0x80) {
      if (byte >= 'a' && byte <= 'z') return Case::lower;
      return byte >= 'A' && byte <= 'Z' ? Case::upper : Case::none;
    }
    switch (category_of(decode_utf8(p))) {
      case GeneralCategory::Lu:
      case GeneralCategory::Lt:
        return Case::upper;
      case GeneralCategory::Ll:
        return Case::lower;
      case GeneralCategory::Lm:
      case GeneralCategory::Lo:
      case GeneralCategory::Mn:
      case GeneralCategory::Mc:
      case GeneralCategory::Me:
        return Case::both;
      default:
        return Case::none;
    }
  }
  static const char* past(const char* p) {
    const auto byte = static_cast<unsigned char>(*p);
    return p + (byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4);
  }

  static Word word_at(const char* q, const char* end) {
    const char* after_both = nullptr;
    Case c = Case::none;
    while (q < end && ((c = case_at(q)) == Case::upper || c == Case::both)) {
      q = past(q);
      if (c == Case::both) after_both = q;
    }
    const char* const upper = q;
    // Without a lowercase letter next, U* gives back what L+ can take.
    if (q == end || c != Case::lower) return {after_both, upper};
    while (q < end && ((c = case_at(q)) == Case::lower || c == Case::both)) q = past(q);
    return {q, upper};
  }

  static const char* contracted(const char* q, const char* end) {
    return q < end && *q == '\'' ? q + contraction(q, end) : q;
  }

  static const char* others(const char* q, const char* end) {
    q = run(q, end, CharClass::other);
    while (q < end && (is_newline(*q) || *q == '/')) ++q;
    return q;
  }
};

}  // namespace msltx::text
