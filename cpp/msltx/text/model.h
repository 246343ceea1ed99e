// Model: what turns one pre-token into tokens. Splitting text into pre-tokens, normalizing it and
// turning ids back into text are not its work. A model never changes once made and is safe for
// concurrent use; byte-level BPE has a class of its own without virtual calls (bpe_model.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "msltx/text/vocabulary.h"

namespace msltx::text {

// A token and the bytes of the piece that it stands for.
struct PieceToken {
  int32_t id;
  uint32_t begin, end;
  bool operator==(const PieceToken&) const = default;
};

// What one caller of tokenize works in; each model uses what it needs of it. Grows to the longest
// piece, so that a call allocates nothing once it is warm.
struct ModelScratch {
  struct Symbol {  // of BPE: a token, its bytes in the piece and its neighbours
    int32_t id;
    uint32_t length;
    uint32_t previous, next;  // places; `next` of the last is the number of symbols
  };
  std::vector<Symbol> symbols;
  std::vector<uint64_t> heap;

  struct PathNode {  // of Unigram: the best way to one byte
    double score;
    int32_t id;
    uint32_t begin;  // where its last token begins
  };
  std::vector<PathNode> path;
};

class Model {
 public:
  virtual ~Model() = default;

  // Appends the tokens of one pre-token in order: valid UTF-8, less than 2^32 - 1 bytes; an empty
  // one gives none. Linear in its length, up to a logarithm for BPE. Throws ValueError where the
  // piece has something unknown and the model has no token for that.
  virtual void tokenize(std::string_view piece, ModelScratch& scratch,
                        std::vector<PieceToken>& out) const = 0;

  // The model's own tokens, without those that a tokenizer adds to it.
  virtual const Vocabulary& vocabulary() const = 0;
};

}  // namespace msltx::text
