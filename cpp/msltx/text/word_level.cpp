#include "msltx/text/word_level.h"

#include "msltx/base/error.h"

namespace msltx::text {

WordLevel::WordLevel(Vocabulary vocabulary, std::string unk_token)
    : vocabulary_(std::move(vocabulary)),
      unk_token_(std::move(unk_token)),
      unk_id_(vocabulary_.find(unk_token_)) {}

void WordLevel::tokenize(std::string_view piece, ModelScratch&,
                         std::vector<PieceToken>& out) const {
  if (piece.empty()) return;
  const std::optional<int32_t> id = vocabulary_.find(piece);
  if (!id && !unk_id_) {
    throw ValueError(concat("\"", piece, "\" is not in the vocabulary, and neither is the unknown ",
                            "token ", unk_token_));
  }
  out.push_back({id ? *id : *unk_id_, 0, static_cast<uint32_t>(piece.size())});
}

}  // namespace msltx::text
