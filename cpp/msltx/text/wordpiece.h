// WordPiece: the longest token that the rest of a word begins with, again and again; a word with a
// rest that no token begins is unknown as a whole. As in BERT.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "msltx/text/byte_trie.h"
#include "msltx/text/model.h"

namespace msltx::text {

struct WordPieceSpec {
  std::string unk_token = "[UNK]";
  std::string continuing_prefix = "##";  // of tokens that do not begin a word
  int64_t max_input_chars = 100;         // a word with more characters is unknown
};

class WordPiece final : public Model {
 public:
  // The unknown token may be missing in the vocabulary until a word needs it.
  WordPiece(Vocabulary vocabulary, WordPieceSpec spec);

  void tokenize(std::string_view piece, ModelScratch& scratch,
                std::vector<PieceToken>& out) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  const WordPieceSpec& spec() const { return spec_; }

 private:
  Vocabulary vocabulary_;
  WordPieceSpec spec_;
  std::optional<int32_t> unk_id_;
  ByteTrie first_, later_;  // tokens that begin a word, and the others without their prefix
};

}  // namespace msltx::text
