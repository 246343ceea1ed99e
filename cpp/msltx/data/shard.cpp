#include "msltx/data/shard.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "msltx/base/error.h"

namespace msltx::data {
namespace {

static_assert(std::endian::native == std::endian::little, "shards are written little-endian");

constexpr std::array<char, 8> kShardMagic{'M', 'S', 'L', 'T', 'X', 'T', 'O', 'K'};
constexpr std::array<char, 8> kIndexMagic{'M', 'S', 'L', 'T', 'X', 'I', 'D', 'X'};
constexpr uint32_t kVersion = 1;

struct ShardHeader {
  std::array<char, 8> magic = kShardMagic;
  uint32_t version = kVersion;
  uint32_t bytes_per_token = 2;
  uint64_t tokens = 0;
  uint64_t documents = 0;
  uint64_t checksum = 0;
  uint32_t vocab_size = 0;
  uint32_t max_id = 0;
  std::array<uint32_t, 4> reserved{};
};
static_assert(sizeof(ShardHeader) == 64);

struct IndexHeader {
  std::array<char, 8> magic = kIndexMagic;
  uint32_t version = kVersion;
  uint32_t reserved = 0;
  uint64_t documents = 0;
  uint64_t tokens = 0;
};
static_assert(sizeof(IndexHeader) == 32);

template <class Header>
Header header_of(const MappedFile& file, const std::array<char, 8>& magic, const char* what) {
  const std::string path = file.path().string();
  Header header;
  if (file.bytes().size() < sizeof header) {
    throw FileError(concat(path, " has ", file.bytes().size(), " bytes; ", what, " has at least ",
                           sizeof header));
  }
  std::memcpy(&header, file.bytes().data(), sizeof header);
  if (header.magic != magic) throw FileError(concat(path, " is not ", what, " of msltx"));
  if (header.version != kVersion) {
    throw FileError(
        concat(path, " has version ", header.version, "; this msltx reads version ", kVersion));
  }
  return header;
}

// Throws unless the file holds its header and `count` entries of `width` bytes, no more and no
// less.
void check_size(const MappedFile& file, size_t header, uint64_t count, uint64_t width) {
  const uint64_t there = file.bytes().size() - header;
  if (count > there / width || count * width != there) {
    throw FileError(concat(file.path().string(), " has ", there,
                           " bytes after its header, which announces ", count, " entries of ",
                           width, " bytes: it is truncated or damaged"));
  }
}

}  // namespace

int bytes_per_token(int64_t vocab_size) { return vocab_size <= 65536 ? 2 : 4; }

Path index_path(const Path& bin) {
  Path path = bin;
  return path.replace_extension(".idx");
}

ShardWriter::ShardWriter(const Path& path, int64_t vocab_size)
    : file_(path),
      path_(path),
      vocab_size_(vocab_size),
      bytes_per_token_(bytes_per_token(vocab_size)) {
  const ShardHeader placeholder;
  file_.write(&placeholder, sizeof placeholder);
}

void ShardWriter::add_document(std::span<const int32_t> ids) {
  buffer_.resize(ids.size() * static_cast<size_t>(bytes_per_token_));
  for (size_t i = 0; i < ids.size(); ++i) {
    max_id_ = std::max(max_id_, ids[i]);
    const auto id = static_cast<uint32_t>(ids[i]);
    if (bytes_per_token_ == 2) {
      const auto narrow = static_cast<uint16_t>(id);
      std::memcpy(buffer_.data() + 2 * i, &narrow, 2);
    } else {
      std::memcpy(buffer_.data() + 4 * i, &id, 4);
    }
  }
  checksum_.add(buffer_);
  file_.write(buffer_);
  tokens_ += static_cast<int64_t>(ids.size());
  offsets_.push_back(static_cast<uint64_t>(tokens_));
}

void ShardWriter::commit() {
  const auto documents_written = static_cast<uint64_t>(documents());
  const ShardHeader header{.bytes_per_token = static_cast<uint32_t>(bytes_per_token_),
                           .tokens = static_cast<uint64_t>(tokens_),
                           .documents = documents_written,
                           .checksum = checksum_.value(),
                           .vocab_size = static_cast<uint32_t>(vocab_size_),
                           .max_id = static_cast<uint32_t>(max_id_)};
  AtomicFile index(index_path(path_));
  const IndexHeader index_header{.documents = documents_written, .tokens = header.tokens};
  index.write(&index_header, sizeof index_header);
  index.write(std::as_bytes(std::span(offsets_)));
  index.commit();
  file_.seek(0);
  file_.write(&header, sizeof header);
  file_.commit();
}

Shard::Shard(const Path& path, int64_t vocab_size) : file_(path), vocab_size_(vocab_size) {
  const auto header = header_of<ShardHeader>(file_, kShardMagic, "a shard");
  if (header.bytes_per_token != 2 && header.bytes_per_token != 4) {
    throw FileError(concat(path.string(), " has ", header.bytes_per_token,
                           " bytes per token; 2 and 4 are read"));
  }
  check_size(file_, sizeof header, header.tokens, header.bytes_per_token);
  if (header.documents >= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    throw FileError(concat(path.string(), " announces ", header.documents, " documents"));
  }
  if (static_cast<int64_t>(header.vocab_size) != vocab_size ||
      (header.tokens > 0 && static_cast<int64_t>(header.max_id) >= vocab_size)) {
    throw FileError(concat(path.string(), " has ids up to ", header.max_id, " of a vocabulary of ",
                           header.vocab_size, "; the dataset's has ", vocab_size));
  }
  tokens_ = static_cast<int64_t>(header.tokens);
  documents_ = static_cast<int64_t>(header.documents);
  bytes_per_token_ = static_cast<int>(header.bytes_per_token);
  checksum_ = header.checksum;
}

std::span<const std::byte> Shard::payload() const {
  return file_.bytes().subspan(sizeof(ShardHeader));
}

void Shard::read(int64_t first, std::span<int32_t> ids) const {
  if (first < 0 || first > tokens_ || static_cast<int64_t>(ids.size()) > tokens_ - first) {
    throw ValueError(concat("tokens [", first, ", ", first + static_cast<int64_t>(ids.size()),
                            ") are outside ", path().string(), ", which has ", tokens_));
  }
  const std::byte* from = payload().data() + first * bytes_per_token_;
  // The greatest id as unsigned: an id past 2^31 is found too.
  uint32_t greatest = 0;
  if (bytes_per_token_ == 2) {
    for (int32_t& id : ids) {
      uint16_t narrow = 0;
      std::memcpy(&narrow, from, 2);
      from += 2;
      id = narrow;
      greatest = std::max(greatest, uint32_t{narrow});
    }
  } else {
    for (int32_t& id : ids) {
      uint32_t wide = 0;
      std::memcpy(&wide, from, 4);
      from += 4;
      id = static_cast<int32_t>(wide);
      greatest = std::max(greatest, wide);
    }
  }
  if (!ids.empty() && static_cast<int64_t>(greatest) >= vocab_size_) {
    throw FileError(concat(path().string(), " has token id ", greatest, " among tokens ", first,
                           " to ", first + static_cast<int64_t>(ids.size()) - 1,
                           "; the vocabulary has ", vocab_size_));
  }
}

std::vector<uint64_t> Shard::document_offsets() const {
  const MappedFile file(index_path(path()));
  const auto header = header_of<IndexHeader>(file, kIndexMagic, "a shard index");
  if (header.documents != static_cast<uint64_t>(documents_) ||
      header.tokens != static_cast<uint64_t>(tokens_)) {
    throw FileError(concat(file.path().string(), " belongs to another shard: it has ",
                           header.documents, " documents, the shard has ", documents_));
  }
  check_size(file, sizeof header, header.documents + 1, sizeof(uint64_t));
  std::vector<uint64_t> offsets(static_cast<size_t>(documents_) + 1);
  std::memcpy(offsets.data(), file.bytes().data() + sizeof header,
              offsets.size() * sizeof(uint64_t));
  if (offsets.front() != 0 || offsets.back() != header.tokens ||
      !std::is_sorted(offsets.begin(), offsets.end())) {
    throw FileError(concat(file.path().string(), " has document offsets out of order"));
  }
  return offsets;
}

void Shard::verify() const {
  Checksum checksum;
  checksum.add(payload());
  if (checksum.value() != checksum_) {
    throw FileError(concat(path().string(), " is damaged: its checksum does not fit its tokens"));
  }
  document_offsets();
  std::vector<int32_t> ids(1 << 16);
  for (int64_t at = 0; at < tokens_; at += static_cast<int64_t>(ids.size())) {
    const auto n = std::min(static_cast<size_t>(tokens_ - at), ids.size());
    read(at, std::span(ids).first(n));
  }
}

}  // namespace msltx::data
