#include "msltx/text/sentencepiece_file.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "msltx/base/error.h"
#include "msltx/text/utf8.h"

namespace msltx::text {
namespace {

// Wire types of protocol buffers.
enum Wire : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct Field {
  uint32_t number = 0, wire = 0;
  uint64_t value = 0;      // of kVarint and the fixed ones
  std::string_view bytes;  // of kBytes
};

// Complaints are ValueErrors that go on after the file's name.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : rest_(bytes) {}

  bool next(Field& field) {
    if (rest_.empty()) return false;
    const uint64_t key = varint();
    field = {.number = static_cast<uint32_t>(std::min<uint64_t>(key >> 3, UINT32_MAX)),
             .wire = static_cast<uint32_t>(key & 7)};
    switch (field.wire) {
      case kVarint:
        field.value = varint();
        return true;
      case kFixed64:
        field.value = fixed<uint64_t>();
        return true;
      case kFixed32:
        field.value = fixed<uint32_t>();
        return true;
      case kBytes: {
        const uint64_t size = varint();
        if (size > rest_.size()) throw ValueError("is cut off");
        field.bytes = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return true;
      }
      default:
        throw ValueError(concat("has a field of the wire type ", field.wire,
                                ", so that it is no SentencePiece model"));
    }
  }

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) throw ValueError("is cut off");
      const auto byte = static_cast<unsigned char>(rest_[0]);
      rest_.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (!(byte & 0x80)) return value;
    }
    throw ValueError("has a number of more than 64 bits, so that it is no SentencePiece model");
  }
  template <class T>
  T fixed() {
    T value = 0;
    if (rest_.size() < sizeof value) throw ValueError("is cut off");
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_.remove_prefix(sizeof value);
    return value;
  }

  std::string_view rest_;
};

template <class Fn>
void for_each_field(std::string_view message, Fn&& fn) {
  WireReader reader(message);
  Field field;
  while (reader.next(field)) fn(field);
}

void expect(const Field& field, Wire wire, const char* what) {
  if (field.wire != wire) {
    throw ValueError(concat("has ", what, " of the wire type ", field.wire,
                            ", so that it is no SentencePiece model"));
  }
}

bool flag(const Field& field, const char* what) {
  expect(field, kVarint, what);
  return field.value != 0;
}

int32_t number(const Field& field, const char* what) {
  expect(field, kVarint, what);
  return static_cast<int32_t>(static_cast<int64_t>(field.value));
}

std::string text(const Field& field, const char* what) {
  expect(field, kBytes, what);
  if (find_invalid_utf8(field.bytes) != kValid) {
    throw ValueError(concat("has ", what, " that is not UTF-8"));
  }
  return std::string(field.bytes);
}

SentencePieceFile::Piece read_piece(std::string_view message) {
  SentencePieceFile::Piece piece;
  for_each_field(message, [&](const Field& field) {
    if (field.number == 1) piece.text = text(field, "a piece");
    if (field.number == 2) {
      expect(field, kFixed32, "a score");
      piece.score = std::bit_cast<float>(static_cast<uint32_t>(field.value));
      if (!std::isfinite(piece.score)) throw ValueError("has a score that is not finite");
    }
    if (field.number == 3) {
      const int32_t kind = number(field, "the type of a piece");
      if (kind < 1 || kind > 6) throw ValueError(concat("has a piece of the type ", kind));
      piece.kind = static_cast<SentencePieceFile::Kind>(kind);
    }
  });
  if (piece.text.empty()) throw ValueError("has an empty piece");
  return piece;
}

void read_trainer(std::string_view message, SentencePieceFile& file) {
  for_each_field(message, [&](const Field& field) {
    switch (field.number) {
      case 3: {
        const int32_t type = number(field, "model_type");
        if (type < 1 || type > 4) throw ValueError(concat("has model_type ", type));
        file.model_type = static_cast<SentencePieceFile::ModelType>(type);
        break;
      }
      case 24:
        file.whitespace_as_suffix = flag(field, "treat_whitespace_as_suffix");
        break;
      case 35:
        file.byte_fallback = flag(field, "byte_fallback");
        break;
      case 40:
        file.unk_id = number(field, "unk_id");
        break;
      case 41:
        file.bos_id = number(field, "bos_id");
        break;
      case 42:
        file.eos_id = number(field, "eos_id");
        break;
      case 43:
        file.pad_id = number(field, "pad_id");
        break;
      case 44:
        file.unk_surface = text(field, "unk_surface");
        break;
      default:
        break;
    }
  });
}

void read_normalizer(std::string_view message, SentencePieceFile& file) {
  for_each_field(message, [&](const Field& field) {
    switch (field.number) {
      case 2:
        expect(field, kBytes, "precompiled_charsmap");
        file.charsmap = field.bytes;
        break;
      case 3:
        file.add_dummy_prefix = flag(field, "add_dummy_prefix");
        break;
      case 4:
        file.remove_extra_whitespaces = flag(field, "remove_extra_whitespaces");
        break;
      case 5:
        file.escape_whitespaces = flag(field, "escape_whitespaces");
        break;
      default:
        break;
    }
  });
}

class WireWriter {
 public:
  void put(uint32_t field, int64_t value) {
    key(field, kVarint);
    varint(static_cast<uint64_t>(value));
  }
  void put(uint32_t field, float value) {
    key(field, kFixed32);
    const auto bits = std::bit_cast<uint32_t>(value);
    out_.append(reinterpret_cast<const char*>(&bits), sizeof bits);
  }
  void put(uint32_t field, std::string_view bytes) {
    key(field, kBytes);
    varint(bytes.size());
    out_.append(bytes);
  }
  std::string take() { return std::move(out_); }

 private:
  void key(uint32_t field, Wire wire) { varint(uint64_t{field} << 3 | wire); }
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_.push_back(static_cast<char>(value | 0x80));
    out_.push_back(static_cast<char>(value));
  }

  std::string out_;
};

}  // namespace

SentencePieceFile parse_sentencepiece(std::string_view bytes, const std::string& name) {
  SentencePieceFile file;
  try {
    for_each_field(bytes, [&](const Field& field) {
      if (field.number > 3) return;
      expect(field, kBytes, "a message");
      if (field.number == 1) file.pieces.push_back(read_piece(field.bytes));
      if (field.number == 2) read_trainer(field.bytes, file);
      if (field.number == 3) read_normalizer(field.bytes, file);
    });
    if (file.pieces.empty())
      throw ValueError("has no pieces, so that it is no SentencePiece model");
    if (file.pieces.size() > size_t{1} << 30) throw ValueError("has more than 2^30 pieces");
  } catch (const ValueError& error) {
    throw FileError(concat(name, " ", error.what()));
  }
  return file;
}

std::string write_sentencepiece(const SentencePieceFile& file) {
  WireWriter out;
  for (const SentencePieceFile::Piece& piece : file.pieces) {
    WireWriter message;
    message.put(1, piece.text);
    message.put(2, piece.score);
    message.put(3, static_cast<int64_t>(piece.kind));
    out.put(1, message.take());
  }
  WireWriter trainer;
  trainer.put(3, static_cast<int64_t>(file.model_type));
  trainer.put(4, static_cast<int64_t>(file.pieces.size()));
  trainer.put(24, int64_t{file.whitespace_as_suffix});
  trainer.put(35, int64_t{file.byte_fallback});
  trainer.put(40, int64_t{file.unk_id});
  trainer.put(41, int64_t{file.bos_id});
  trainer.put(42, int64_t{file.eos_id});
  trainer.put(43, int64_t{file.pad_id});
  trainer.put(44, file.unk_surface);
  out.put(2, trainer.take());
  WireWriter normalizer;
  normalizer.put(1, file.charsmap.empty() ? "identity" : "user_defined");
  if (!file.charsmap.empty()) normalizer.put(2, file.charsmap);
  normalizer.put(3, int64_t{file.add_dummy_prefix});
  normalizer.put(4, int64_t{file.remove_extra_whitespaces});
  normalizer.put(5, int64_t{file.escape_whitespaces});
  out.put(3, normalizer.take());
  return out.take();
}

}  // namespace msltx::text
