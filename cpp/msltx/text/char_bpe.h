// BPE over characters: with a suffix that marks the end of a word, a prefix that marks what does
// not begin one, bytes for unknown characters. As the model "BPE" of the Hugging Face library
// without dropout; SentencePiece's BPE is a case of it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "msltx/text/bpe_model.h"
#include "msltx/text/byte_tokens.h"
#include "msltx/text/byte_trie.h"
#include "msltx/text/model.h"

namespace msltx::text {

struct CharBpeSpec {
  std::string unk_token;          // empty: an unknown character is left out
  std::string continuing_prefix;  // before a character that does not begin the piece ("##")
  std::string word_suffix;        // after the last character of the piece ("</w>")
  bool fuse_unk = false;          // a run of unknown characters is one unknown token
  bool byte_fallback = false;     // an unknown character as its bytes, "<0x0A>"
  bool ignore_merges = false;     // a piece that is a token is that token
  // Tokens that are found wherever they stand, the longest first, and never merged: SentencePiece's
  // user-defined symbols.
  std::vector<int32_t> symbols;
};

class CharBpe final : public Model {
 public:
  struct Merge {
    int32_t left, right;
    uint32_t rank;  // lowest first; among equal ranks the leftmost pair first
  };

  // Throws ValueError for a merge of or into what is not in the vocabulary.
  CharBpe(Vocabulary vocabulary, std::vector<Merge> merges, CharBpeSpec spec);

  // The merges that follow from scores, as in SentencePiece's BPE and in tiktoken's ranks: any two
  // tokens that make a third one are merged, the pair that makes the token of the best score first.
  // Tokens of -infinity are not made.
  static std::vector<Merge> merges_by_score(const Vocabulary& vocabulary,
                                            std::span<const double> scores);

  void tokenize(std::string_view piece, ModelScratch& scratch,
                std::vector<PieceToken>& out) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  const CharBpeSpec& spec() const { return spec_; }
  const std::vector<Merge>& merges() const { return merges_; }  // by rank

 private:
  using Symbol = ModelScratch::Symbol;
  void add_characters();
  void cut(std::string_view piece, std::vector<Symbol>& symbols) const;
  uint32_t merge_few(std::vector<Symbol>& symbols) const;
  void merge_many(ModelScratch& scratch) const;

  Vocabulary vocabulary_;
  std::vector<Merge> merges_;
  CharBpeSpec spec_;
  std::optional<int32_t> unk_id_;
  MergeTable table_;
  ByteTrie symbols_;
  // From how a character stands in the piece (kLater, kLast) and its code point to its token.
  MergeTable characters_;
  std::array<int32_t, 256> byte_ids_{};  // kNoByteToken where the vocabulary has none
};

}  // namespace msltx::text
