#include "msltx/text/decoder.h"

#include <algorithm>

#include "msltx/base/error.h"
#include "msltx/text/byte_alphabet.h"
#include "msltx/text/pattern.h"
#include "msltx/text/pre_tokenizer.h"
#include "msltx/text/utf8.h"

namespace msltx::text {
namespace {

using Tokens = std::vector<std::string>;
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
// Replacements that follow one another could make anything of a text: it may have this many bytes,
// and grow this many times.
constexpr size_t kMostBytes = size_t{1} << 16, kMostGrowth = 256;

void replace_all(std::string& text, std::string_view what, std::string_view by) {
  if (what.empty()) {
    // As in Rust: before every character and at the end.
    std::string out(by);
    for (const char* p = text.data(); p < text.data() + text.size();) {
      const char* const begin = p;
      decode_utf8(p);
      out.append(begin, p);
      out += by;
    }
    text.swap(out);
    return;
  }
  size_t at = text.find(what);
  if (at == std::string::npos) return;
  std::string out;
  size_t from = 0;
  for (; at != std::string::npos; at = text.find(what, from)) {
    out.append(text, from, at - from);
    out += by;
    from = at + what.size();
  }
  out.append(text, from);
  text.swap(out);
}

size_t bytes_of(const Tokens& tokens) {
  size_t size = 0;
  for (const std::string& token : tokens) size += token.size();
  return size;
}

std::string joined(const Tokens& tokens) {
  std::string out;
  for (const std::string& token : tokens) out += token;
  return out;
}

// Spaces before punctuation and in English contractions, one rule after the other.
void clean_up(std::string& text) {
  constexpr std::pair<std::string_view, std::string_view> kRules[] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [what, by] : kRules) replace_all(text, what, by);
}

class ByteLevel final : public TokenDecoder {
 public:
  void decode(Tokens& tokens) const override {
    std::string bytes;
    for (const std::string& token : tokens) bytes += from_byte_alphabet(token).value_or(token);
    if (find_invalid_utf8(bytes) != kValid) bytes = replace_invalid_utf8(bytes);
    tokens.assign(1, std::move(bytes));
  }
};

class WordPieces final : public TokenDecoder {
 public:
  explicit WordPieces(const Json& json)
      : prefix_(text_field(json, "prefix")), clean_(flag_field(json, "cleanup")) {}
  void decode(Tokens& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0) {
        if (tokens[i].starts_with(prefix_)) {
          tokens[i].erase(0, prefix_.size());
        } else {
          tokens[i].insert(tokens[i].begin(), ' ');
        }
      }
      if (clean_) clean_up(tokens[i]);
    }
  }

 private:
  std::string prefix_;
  bool clean_;
};

class Metaspaces final : public TokenDecoder {
 public:
  explicit Metaspaces(const Json& json) : fields_(json) {
    append_utf8(written_, fields_.replacement);
  }
  void decode(Tokens& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      const bool drop = i == 0 && fields_.scheme != PrependScheme::never;
      replace_all(tokens[i], written_, drop ? "" : " ");
    }
  }

 private:
  MetaspaceFields fields_;
  std::string written_;
};

class BpeSuffix final : public TokenDecoder {
 public:
  explicit BpeSuffix(const Json& json) : suffix_(text_field(json, "suffix")) {}
  void decode(Tokens& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      replace_all(tokens[i], suffix_, i + 1 == tokens.size() ? "" : " ");
    }
  }

 private:
  std::string suffix_;
};

class Ctc final : public TokenDecoder {
 public:
  explicit Ctc(const Json& json)
      : pad_(text_field(json, "pad_token")),
        delimiter_(text_field(json, "word_delimiter_token")),
        clean_(flag_field(json, "cleanup")) {}
  void decode(Tokens& tokens) const override {
    tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
    for (std::string& token : tokens) {
      replace_all(token, pad_, "");
      if (clean_) {
        clean_up(token);
        replace_all(token, delimiter_, " ");
      }
    }
    std::erase_if(tokens, [](const std::string& token) { return token.empty(); });
  }

 private:
  std::string pad_, delimiter_;
  bool clean_;
};

class Fuse final : public TokenDecoder {
 public:
  void decode(Tokens& tokens) const override { tokens.assign(1, joined(tokens)); }
};

class Strip final : public TokenDecoder {
 public:
  explicit Strip(const Json& json)
      : start_(count_field(json, "start")), stop_(count_field(json, "stop")) {
    append_utf8(content_, character_field(json, "content"));
  }
  void decode(Tokens& tokens) const override {
    for (std::string& token : tokens) {
      size_t begin = 0, end = token.size();
      const auto has = [&](size_t at) { return token.compare(at, content_.size(), content_) == 0; };
      for (int64_t i = 0; i < start_ && begin < token.size() && has(begin); ++i) {
        begin += content_.size();
      }
      for (int64_t i = 0; i < stop_ && end >= begin + content_.size() && has(end - content_.size());
           ++i) {
        end -= content_.size();
      }
      token = token.substr(begin, end - begin);
    }
  }

 private:
  std::string content_;
  int64_t start_, stop_;
};

class Replace final : public TokenDecoder {
 public:
  explicit Replace(const Json& json) : pattern_(json), content_(text_field(json, "content")) {}
  void decode(Tokens& tokens) const override {
    if (!pattern_.is_regex()) {
      for (std::string& token : tokens) replace_all(token, pattern_.written(), content_);
      return;
    }
    std::vector<TextSpan> matches;
    for (std::string& token : tokens) {
      if (token.empty()) continue;
      matches.clear();
      pattern_.find_all(token, matches);
      AlignedText text(token, false);
      text.replace(matches, content_);
      token = text.text();
    }
  }

 private:
  Pattern pattern_;
  std::string content_;
};

// Tokens such as <0x0A> are bytes; runs of them that are no UTF-8 become U+FFFD, one for each.
class ByteFallback final : public TokenDecoder {
 public:
  void decode(Tokens& tokens) const override {
    Tokens out;
    out.reserve(tokens.size());
    std::string bytes;
    const auto flush = [&] {
      if (bytes.empty()) return;
      if (find_invalid_utf8(bytes) == kValid) {
        out.push_back(bytes);
      } else {
        out.insert(out.end(), bytes.size(), std::string(kReplacement));
      }
      bytes.clear();
    };
    for (std::string& token : tokens) {
      const int byte = byte_of(token);
      if (byte >= 0) {
        bytes.push_back(static_cast<char>(byte));
        continue;
      }
      flush();
      out.push_back(std::move(token));
    }
    flush();
    tokens.swap(out);
  }

 private:
  static int digit_of(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
  }
  static int byte_of(const std::string& token) {
    if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
    // The library's number parser takes "+5" too.
    const int low = digit_of(token[4]);
    const int high = token[3] == '+' ? 0 : digit_of(token[3]);
    return low < 0 || high < 0 ? -1 : high * 16 + low;
  }
};

class Sequence final : public TokenDecoder {
 public:
  explicit Sequence(const Json& json) {
    for (const Json& part : list_field(json, "decoders")) {
      parts_.push_back(make_decoder(part));
      if (!parts_.back()) throw ValueError("has decoder null in a Sequence");
    }
  }
  void decode(Tokens& tokens) const override {
    const size_t limit = std::max(kMostBytes, kMostGrowth * bytes_of(tokens));
    for (const auto& part : parts_) {
      part->decode(tokens);
      if (const size_t size = bytes_of(tokens); size > limit) {
        throw ValueError(
            concat("decoding makes ", size, " bytes of the tokens; the limit is ", limit));
      }
    }
  }

 private:
  std::vector<std::unique_ptr<const TokenDecoder>> parts_;
};

}  // namespace

std::unique_ptr<const TokenDecoder> make_decoder(const Json& json) {
  if (json.is_null()) return nullptr;
  const std::string type = type_of(json, "decoder");
  if (type == "ByteLevel") return std::make_unique<ByteLevel>();
  if (type == "WordPiece") return std::make_unique<WordPieces>(json);
  if (type == "Metaspace") return std::make_unique<Metaspaces>(json);
  if (type == "BPEDecoder") return std::make_unique<BpeSuffix>(json);
  if (type == "CTC") return std::make_unique<Ctc>(json);
  if (type == "Fuse") return std::make_unique<Fuse>();
  if (type == "Strip") return std::make_unique<Strip>(json);
  if (type == "Replace") return std::make_unique<Replace>(json);
  if (type == "ByteFallback") return std::make_unique<ByteFallback>();
  if (type == "Sequence") return std::make_unique<Sequence>(json);
  unknown_part("decoder", type);
}

}  // namespace msltx::text
