// Unigram: of all ways to write a piece in tokens the one with the greatest sum of scores (Kudo
// 2018), found by Viterbi over a trie. Among equal sums the first found counts: of two last tokens
// the longer one, as in the Hugging Face library and in SentencePiece.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "msltx/text/byte_tokens.h"
#include "msltx/text/byte_trie.h"
#include "msltx/text/model.h"

namespace msltx::text {

struct UnigramSpec {
  std::vector<std::string> tokens;  // by id
  std::vector<double> scores;       // by id: logarithms of probabilities
  std::optional<int32_t> unk_id;
  bool byte_fallback = false;  // an unknown character as its bytes, "<0x0A>"
  // true adds scores in float32 as SentencePiece does, false in float64 as Hugging Face does.
  bool float_scores = false;
  // By id; empty: all normal. What is not normal or user_defined is never found in text.
  enum class Kind : uint8_t { normal, user_defined, hidden };
  std::vector<Kind> kinds;
};

class Unigram final : public Model {
 public:
  // Throws ValueError where there is not one score to a token or unk_id is outside the list.
  explicit Unigram(UnigramSpec spec);

  // A run of unknown characters is one unknown token.
  void tokenize(std::string_view piece, ModelScratch& scratch,
                std::vector<PieceToken>& out) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  const UnigramSpec& spec() const { return spec_; }  // its `tokens` are empty: see vocabulary()

 private:
  template <class Score>
  void find_path(std::string_view piece, std::vector<ModelScratch::PathNode>& path) const;
  void append_unknown(std::string_view piece, uint32_t begin, uint32_t end,
                      std::vector<PieceToken>& out) const;

  Vocabulary vocabulary_;
  UnigramSpec spec_;
  ByteTrie trie_;
  double unk_score_ = 0;
  std::vector<double> scores_;           // by id: what a path gains by the token
  std::array<int32_t, 256> byte_ids_{};  // kNoByteToken where the vocabulary has none
};

}  // namespace msltx::text
