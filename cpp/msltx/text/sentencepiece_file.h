// SentencePiece's .model files: what of them says how text becomes pieces, read and written. The
// file is a protocol buffer, message ModelProto of sentencepiece_model.proto.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace msltx::text {

struct SentencePieceFile {
  enum class Kind : uint8_t { normal = 1, unknown, control, user_defined, unused, byte };
  struct Piece {
    std::string text;
    float score = 0;
    Kind kind = Kind::normal;
  };
  enum class ModelType : uint8_t { unigram = 1, bpe, word, chars };

  std::vector<Piece> pieces;  // by id
  // Trainer's settings.
  ModelType model_type = ModelType::unigram;
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  int32_t unk_id = 0, bos_id = 1, eos_id = 2, pad_id = -1;  // -1: there is none
  std::string unk_surface = " \xE2\x81\x87 ";               // what an unknown piece is decoded to
  // Normalizer's settings.
  std::string charsmap;  // see charsmap.h; empty: text stays as it is
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

// Throws FileError, beginning with `name`, for bytes that are no such file.
SentencePieceFile parse_sentencepiece(std::string_view bytes, const std::string& name);

std::string write_sentencepiece(const SentencePieceFile& file);

}  // namespace msltx::text
