// What is inside a Tokenizer, shared by its .cpp files only.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "msltx/text/bpe_model.h"
#include "msltx/text/piece_cache.h"
#include "msltx/text/tokenizer.h"

namespace msltx::text {

// What one caller of encode works in. Kept between calls, so that the cache stays warm.
struct Tokenizer::Workspace {
  PieceCache cache;
  BpeModel::Scratch scratch;
  std::vector<int32_t> piece_ids;
  std::string normalized, prefixed;
};

struct Tokenizer::State {
  TokenizerSpec spec;
  std::unordered_map<std::string_view, int32_t> ids;  // views into spec.tokens
  std::vector<std::string> bytes;                     // by id: what decode gives
  std::vector<bool> special;                          // by id
  BpeModel model;
  std::unordered_map<std::string_view, int32_t> whole_pieces;  // with ignore_merges
  TokenMatcher raw_matcher, normalized_matcher;
  TokenRoles roles;

  // Workspaces at rest, the one used last on top.
  mutable std::mutex idle_mutex;
  mutable std::vector<std::unique_ptr<Workspace>> idle;

  const std::string& token(int32_t id, const std::vector<std::string>& table) const;

  // tokenizer_encode.cpp
  void encode(std::string_view text, bool add_special_tokens, Workspace& workspace,
              std::vector<int32_t>& out) const;
  void encode_text(std::string_view text, Workspace& workspace, std::vector<int32_t>& out) const;
  void encode_normalized(std::string_view text, Workspace& workspace,
                         std::vector<int32_t>& out) const;
  void encode_pieces(std::string_view text, Workspace& workspace, std::vector<int32_t>& out) const;
  template <class Split>
  void encode_pieces(std::string_view text, Workspace& workspace, std::vector<int32_t>& out) const;
  void encode_piece(std::string_view piece, Workspace& workspace, std::vector<int32_t>& out) const;
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

}  // namespace msltx::text
