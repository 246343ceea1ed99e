// What is inside a Tokenizer, shared by its .cpp files only.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "msltx/text/bpe_model.h"
#include "msltx/text/decoder.h"
#include "msltx/text/normalizer.h"
#include "msltx/text/piece_cache.h"
#include "msltx/text/piece_ids.h"
#include "msltx/text/piece_scan.h"
#include "msltx/text/post_processor.h"
#include "msltx/text/pre_tokenizer.h"
#include "msltx/text/tokenizer.h"

namespace msltx::text {

// What one caller of encode works in. Kept between calls, so that the cache stays warm.
struct Tokenizer::Workspace {
  PieceScan scan;
  PieceCache cache;
  PieceCache words;  // of texts that are cut into words
  BpeModel::Scratch scratch;
  ModelScratch model_scratch;
  std::vector<PieceToken> tokens;
  std::vector<int32_t> piece_ids;
  std::string normalized, prefixed;
};

struct Tokenizer::State {
  TokenizerSpec spec;
  std::vector<std::string> tokens;                    // by id, as the file writes them
  std::unordered_map<std::string_view, int32_t> ids;  // views into tokens
  std::vector<bool> special;                          // by id
  TokenMatcher raw_matcher, normalized_matcher;
  TokenRoles roles;

  // Byte-level BPE: without spec.model.
  std::vector<std::string> bytes;  // by id: what decode gives
  BpeModel bpe;
  PieceIds whole_pieces;  // with ignore_merges

  // The components; null where there is none.
  std::unique_ptr<const Normalizer> normalizer;
  std::unique_ptr<const PreTokenizer> pre_tokenizer;
  std::unique_ptr<const PostProcessor> post_processor;
  std::unique_ptr<const TokenDecoder> decoder;
  std::unordered_map<int32_t, std::string> normalized_added;  // what such tokens decode as
  // A pre-tokenizer asks where pieces stand in the text as it came: places are kept for ids too.
  bool tracks_always = false;
  std::optional<int32_t> shown_as_written;  // the unknown token of Unigram, in Encoding::tokens
  bool by_words = false;                    // see word_rules.h
  std::unique_ptr<const Normalizer> inner_normalizer;
  bool affixes_only = true;  // the post-processor puts spec.prefix and spec.suffix around

  // Workspaces at rest, the one used last on top.
  mutable std::mutex idle_mutex;
  mutable std::vector<std::unique_ptr<Workspace>> idle;

  bool byte_level() const { return !spec.model; }
  const std::string& token(int32_t id, const std::vector<std::string>& table) const;

  // tokenizer.cpp
  void make_vocabulary();
  void make_components();
  void make_sentencepiece();
  void set_named_roles();
  void make_matchers();
  void make_byte_level();

  // tokenizer_encode.cpp
  void encode(std::string_view text, bool add_special_tokens, Workspace& workspace,
              std::vector<int32_t>& out) const;
  void encode_text(std::string_view text, Workspace& workspace, std::vector<int32_t>& out) const;
  void encode_segment(std::string_view segment, Workspace& workspace,
                      std::vector<int32_t>& out) const;  // no added token as written is in it
  void encode_normalized(std::string_view text, Workspace& workspace,
                         std::vector<int32_t>& out) const;
  void encode_pieces(std::string_view text, Workspace& workspace, std::vector<int32_t>& out) const;
  template <class Split>
  void encode_pieces(std::string_view text, Workspace& workspace, std::vector<int32_t>& out) const;
  void encode_piece(std::string_view piece, Workspace& workspace, std::vector<int32_t>& out) const;

  // tokenizer_pipeline.cpp
  std::vector<Piece> pieces_of(std::string_view text, const Normalizer* with, bool tracked) const;
  void tokenize(const std::string& piece, Workspace& workspace) const;
  void encode_words(std::string_view text, bool from_beginning, Workspace& workspace,
                    std::vector<int32_t>& out) const;
  void encode_through_pipeline(std::string_view text, const Normalizer* with, Workspace& workspace,
                               std::vector<int32_t>& out) const;
};

// A workspace for the time of a call.
class Tokenizer::Lease {
 public:
  explicit Lease(const State& state);
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  Workspace& operator*() const { return *workspace_; }

 private:
  const State& state_;
  std::unique_ptr<Workspace> workspace_;
};

// on_text and on_token in turn, over the whole of `text`; what an added token strips is its own.
template <class OnText, class OnToken>
void for_each_segment(const TokenMatcher& matcher, std::string_view text, OnText&& on_text,
                      OnToken&& on_token) {
  size_t taken = 0, from = 0;
  if (!matcher.empty()) {
    for (;;) {
      const TokenMatcher::Match match = matcher.find(text, from, taken);
      if (match.id < 0) break;
      if (match.begin > taken) on_text(text.substr(taken, match.begin - taken));
      on_token(match.id, text.substr(match.begin, match.end - match.begin));
      taken = match.end;
      from = match.next;
    }
  }
  if (taken < text.size()) on_text(text.substr(taken));
}

}  // namespace msltx::text
