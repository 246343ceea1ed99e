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
constexpr uint32_t kShardVersion = 1;
constexpr uint32_t kIndexVersion = 2;  // 1 had no bytes

struct ShardHeader {
  std::array<char, 8> magic = kShardMagic;
  uint32_t version = kShardVersion;
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
  uint32_t version = kIndexVersion;
  uint32_t reserved = 0;
  uint64_t documents = 0;
  uint64_t tokens = 0;
};
static_assert(sizeof(IndexHeader) == 32);

// llm.c: 256 int32, of which the first three tell what follows.
struct LlmcHeader {
  int32_t magic = 0, version = 0, tokens = 0;
};
constexpr size_t kLlmcHeaderBytes = 1024;
struct LlmcKind {
  int32_t magic, version;
  int bytes_per_token;
};
constexpr std::array<LlmcKind, 2> kLlmcKinds{{{20240520, 1, 2}, {20240801, 7, 4}}};

template <class Header>
Header header_of(const MappedFile& file, const std::array<char, 8>& magic, uint32_t newest,
                 const char* what) {
  const std::string path = file.path().string();
  Header header;
  if (file.bytes().size() < sizeof header) {
    throw FileError(concat(path, " has ", file.bytes().size(), " bytes; ", what, " has at least ",
                           sizeof header));
  }
  std::memcpy(&header, file.bytes().data(), sizeof header);
  if (header.magic != magic) throw FileError(concat(path, " is not ", what, " of msltx"));
  if (header.version < 1 || header.version > newest) {
    throw FileError(
        concat(path, " has version ", header.version, "; this msltx reads up to ", newest));
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
      index_(index_path(path)),
      vocab_size_(vocab_size),
      bytes_per_token_(bytes_per_token(vocab_size)) {
  const ShardHeader placeholder;
  file_.write(&placeholder, sizeof placeholder);
  const IndexHeader index_placeholder;
  index_.write(&index_placeholder, sizeof index_placeholder);
  write_place();
}

// Tokens and bytes up to here.
void ShardWriter::write_place() {
  const std::array<int64_t, 2> place{tokens_, bytes_};
  index_.write(place.data(), sizeof place);
}

void ShardWriter::add_document(std::span<const int32_t> ids, int64_t bytes) {
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
  bytes_ += bytes;
  ++documents_;
  write_place();
}

void ShardWriter::commit() {
  const ShardHeader header{.bytes_per_token = static_cast<uint32_t>(bytes_per_token_),
                           .tokens = static_cast<uint64_t>(tokens_),
                           .documents = static_cast<uint64_t>(documents_),
                           .checksum = checksum_.value(),
                           .vocab_size = static_cast<uint32_t>(vocab_size_),
                           .max_id = static_cast<uint32_t>(max_id_)};
  const IndexHeader index_header{.documents = header.documents, .tokens = header.tokens};
  index_.seek(0);
  index_.write(&index_header, sizeof index_header);
  index_.commit();
  file_.seek(0);
  file_.write(&header, sizeof header);
  file_.commit();
}

Shard::Shard(const Path& path, int64_t vocab_size)
    : file_(path), header_(sizeof(ShardHeader)), vocab_size_(vocab_size) {
  const auto header = header_of<ShardHeader>(file_, kShardMagic, kShardVersion, "a shard");
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

Shard Shard::foreign(const Path& path, int64_t vocab_size, std::optional<int32_t> eos_id) {
  Shard shard;
  shard.file_ = MappedFile(path);
  shard.vocab_size_ = vocab_size;
  shard.bytes_per_token_ = bytes_per_token(vocab_size);
  shard.foreign_ = true;
  shard.eos_id_ = eos_id;
  const size_t size = shard.file_.bytes().size();
  LlmcHeader header;
  if (size >= sizeof header) std::memcpy(&header, shard.file_.bytes().data(), sizeof header);
  const auto* kind = std::find_if(kLlmcKinds.begin(), kLlmcKinds.end(),
                                  [&](const LlmcKind& k) { return k.magic == header.magic; });
  if (kind == kLlmcKinds.end()) {
    if (size % static_cast<size_t>(shard.bytes_per_token_) != 0) {
      throw FileError(concat(path.string(), " has ", size, " bytes, which are no whole ids of ",
                             shard.bytes_per_token_, " bytes"));
    }
  } else {
    if (header.version != kind->version) {
      throw FileError(concat(path.string(), " has version ", header.version,
                             " of llm.c's token files; ", kind->version, " is read"));
    }
    if (size < kLlmcHeaderBytes || header.tokens < 0) {
      throw FileError(concat(path.string(), " is truncated or damaged: it has ", size, " bytes"));
    }
    shard.header_ = kLlmcHeaderBytes;
    shard.bytes_per_token_ = kind->bytes_per_token;
    check_size(shard.file_, kLlmcHeaderBytes, static_cast<uint64_t>(header.tokens),
               static_cast<uint64_t>(kind->bytes_per_token));
  }
  shard.tokens_ = static_cast<int64_t>(shard.payload().size()) / shard.bytes_per_token_;
  return shard;
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

DocumentIndex Shard::index() const {
  if (foreign_) return found_index();
  DocumentIndex index;
  index.file_ = MappedFile(index_path(path()));
  const std::string name = index.file_.path().string();
  const auto header =
      header_of<IndexHeader>(index.file_, kIndexMagic, kIndexVersion, "a shard index");
  if (header.documents != static_cast<uint64_t>(documents_) ||
      header.tokens != static_cast<uint64_t>(tokens_)) {
    throw FileError(concat(name, " belongs to another shard: it has ", header.documents,
                           " documents, the shard has ", documents_));
  }
  index.header_ = sizeof header;
  index.documents_ = documents_;
  index.stride_ = header.version;  // one number a document, or two
  check_size(index.file_, sizeof header, header.documents + 1,
             sizeof(uint64_t) * static_cast<uint64_t>(index.stride_));
  bool ordered =
      index.begin(0) == 0 && index.begin(documents_) == tokens_ && index.bytes_before(0) == 0;
  for (int64_t i = 0; i < documents_; ++i) {
    ordered &= index.begin(i) <= index.begin(i + 1);
    ordered &= index.bytes_before(i) <= index.bytes_before(i + 1);
  }
  if (!ordered) throw FileError(concat(name, " has document offsets out of order"));
  return index;
}

// nanoGPT puts its token after each document, llm.c before: a file that begins with it tells.
DocumentIndex Shard::found_index() const {
  DocumentIndex index;
  index.found_.push_back(0);
  std::vector<int32_t> ids(1 << 16);
  bool before = false;
  for (int64_t at = 0; eos_id_ && at < tokens_; at += static_cast<int64_t>(ids.size())) {
    const auto n = std::min(static_cast<size_t>(tokens_ - at), ids.size());
    read(at, std::span(ids).first(n));
    if (at == 0) before = ids[0] == *eos_id_;
    for (size_t i = 0; i < n; ++i) {
      if (ids[i] != *eos_id_) continue;
      const int64_t place = at + static_cast<int64_t>(i) + (before ? 0 : 1);
      if (place > 0 && place < tokens_) index.found_.push_back(place);
    }
  }
  if (tokens_ > 0) index.found_.push_back(tokens_);
  index.documents_ = static_cast<int64_t>(index.found_.size()) - 1;
  return index;
}

void Shard::verify() const {
  if (checksum_) {
    Checksum checksum;
    checksum.add(payload());
    if (checksum.value() != *checksum_) {
      throw FileError(concat(path().string(), " is damaged: its checksum does not fit its tokens"));
    }
  }
  static_cast<void>(index());  // throws where it does not fit
  std::vector<int32_t> ids(1 << 16);
  for (int64_t at = 0; at < tokens_; at += static_cast<int64_t>(ids.size())) {
    const auto n = std::min(static_cast<size_t>(tokens_ - at), ids.size());
    read(at, std::span(ids).first(n));
  }
}

}  // namespace msltx::data
