// Word level: a piece is a token or unknown.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "msltx/text/model.h"

namespace msltx::text {

class WordLevel final : public Model {
 public:
  // The unknown token may be missing in the vocabulary until a word needs it.
  WordLevel(Vocabulary vocabulary, std::string unk_token);

  void tokenize(std::string_view piece, ModelScratch& scratch,
                std::vector<PieceToken>& out) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  const std::string& unk_token() const { return unk_token_; }

 private:
  Vocabulary vocabulary_;
  std::string unk_token_;
  std::optional<int32_t> unk_id_;
};

}  // namespace msltx::text
