#include "msltx/text/wordpiece.h"

#include <algorithm>
#include <utility>

#include "msltx/base/error.h"

namespace msltx::text {

WordPiece::WordPiece(Vocabulary vocabulary, WordPieceSpec spec)
    : vocabulary_(std::move(vocabulary)),
      spec_(std::move(spec)),
      unk_id_(vocabulary_.find(spec_.unk_token)) {
  std::vector<std::pair<std::string_view, int32_t>> first, later;
  for (int32_t id = 0; id < vocabulary_.size(); ++id) {
    if (!vocabulary_.has(id)) continue;
    const std::string_view token = vocabulary_.token(id);
    first.emplace_back(token, id);
    if (token.starts_with(spec_.continuing_prefix)) {
      later.emplace_back(token.substr(spec_.continuing_prefix.size()), id);
    }
  }
  first_ = ByteTrie(std::move(first));
  later_ = ByteTrie(std::move(later));
}

void WordPiece::tokenize(std::string_view piece, ModelScratch&,
                         std::vector<PieceToken>& out) const {
  const size_t size = piece.size();
  const size_t before = out.size();
  const auto is_first_byte = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; };
  const auto limit = static_cast<size_t>(std::max<int64_t>(spec_.max_input_chars, 0));
  // There are no more characters than bytes.
  bool known = size <= limit || static_cast<size_t>(std::count_if(piece.begin(), piece.end(),
                                                                  is_first_byte)) <= limit;
  for (size_t at = 0; known && at < size;) {
    size_t length = 0;
    int32_t id = 0;
    (at == 0 ? first_ : later_).for_each_prefix(piece.substr(at), [&](int32_t value, size_t n) {
      id = value;
      length = n;
    });
    known = length > 0;
    out.push_back({id, static_cast<uint32_t>(at), static_cast<uint32_t>(at + length)});
    at += length;
  }
  if (known) return;
  out.resize(before);
  if (!unk_id_) {
    throw ValueError(concat("\"", piece, "\" is not made of tokens of the vocabulary, which lacks ",
                            "the unknown token ", spec_.unk_token));
  }
  out.push_back({*unk_id_, 0, static_cast<uint32_t>(size)});
}

}  // namespace msltx::text
