#include "msltx/text/byte_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "msltx/base/error.h"

namespace msltx::text {
namespace {

constexpr size_t kInputBytes = 1 << 18;
constexpr std::string_view kGzipMagic("\x1f\x8b", 2);
constexpr std::string_view kZstdMagic("\x28\xb5\x2f\xfd", 4);
constexpr int kGzipOnly = 16;  // added to the window bits: zlib's way to ask for gzip

}  // namespace

// Turns what stands in a source's input into bytes; both formats may have several parts in a row.
class ByteSource::Decoder {
 public:
  explicit Decoder(ByteSource& source) : source_(source) {}
  virtual ~Decoder() = default;
  virtual size_t read(char* to, size_t most) = 0;

 protected:
  [[noreturn]] void damaged(const char* format, const std::string& why) const {
    throw FileError(
        concat(source_.name_, " is damaged: its ", format, " data is not whole (", why, ")"));
  }
  ByteSource& source_;
};

class ByteSource::Gzip : public ByteSource::Decoder {
 public:
  explicit Gzip(ByteSource& source) : Decoder(source) {
    if (inflateInit2(&stream_, MAX_WBITS + kGzipOnly) != Z_OK) throw std::bad_alloc();
  }
  ~Gzip() override { inflateEnd(&stream_); }

  size_t read(char* to, size_t most) override {
    stream_.next_out = reinterpret_cast<Bytef*>(to);
    stream_.avail_out = static_cast<uInt>(most);
    while (stream_.avail_out == most) {
      if (source_.waiting() == 0 && !source_.refill()) {
        if (!between_) damaged("gzip", "it ends too early");
        break;
      }
      if (between_) {
        inflateReset(&stream_);
        between_ = false;
      }
      stream_.next_in = reinterpret_cast<Bytef*>(source_.input_.data() + source_.at_);
      stream_.avail_in = static_cast<uInt>(source_.waiting());
      const int rc = inflate(&stream_, Z_NO_FLUSH);
      source_.at_ = source_.input_.size() - stream_.avail_in;
      if (rc == Z_STREAM_END) {
        between_ = true;
      } else if (rc != Z_OK && rc != Z_BUF_ERROR) {
        damaged("gzip", stream_.msg ? stream_.msg : "unknown");
      }
    }
    return most - stream_.avail_out;
  }

 private:
  z_stream stream_{};
  bool between_ = false;  // a part has ended
};

class ByteSource::Zstd : public ByteSource::Decoder {
 public:
  explicit Zstd(ByteSource& source) : Decoder(source), stream_(ZSTD_createDStream()) {
    if (!stream_) throw std::bad_alloc();
  }
  ~Zstd() override { ZSTD_freeDStream(stream_); }

  size_t read(char* to, size_t most) override {
    ZSTD_outBuffer out{to, most, 0};
    while (out.pos == 0) {
      // Bytes may wait inside the stream even where the file has none left.
      const bool more = source_.waiting() > 0 || source_.refill();
      if (!more && between_) break;
      ZSTD_inBuffer in{source_.input_.data(), source_.input_.size(), source_.at_};
      const size_t rc = ZSTD_decompressStream(stream_, &out, &in);
      source_.at_ = in.pos;
      if (ZSTD_isError(rc)) damaged("zstd", ZSTD_getErrorName(rc));
      between_ = rc == 0;
      if (!more && !between_ && out.pos == 0) damaged("zstd", "it ends too early");
    }
    return out.pos;
  }

 private:
  ZSTD_DStream* stream_;
  bool between_ = true;
};

ByteSource::ByteSource(const Path& path) : name_(path.string()) {
  if (path == kStandardInput) {
    name_ = "standard input";
    fd_ = dup(STDIN_FILENO);
  } else {
    fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  }
  if (fd_ < 0) throw FileError(system_error_message("open", name_));
  struct stat info {};
  if (fstat(fd_, &info) == 0 && S_ISREG(info.st_mode)) total_ = info.st_size;
  try {
    while (waiting() < kZstdMagic.size() && refill()) {
    }
  } catch (...) {
    close(fd_);
    throw;
  }
  const std::string_view begin(input_.data(), input_.size());
  if (begin.starts_with(kGzipMagic)) {
    decoder_ = std::make_unique<Gzip>(*this);
  } else if (begin.starts_with(kZstdMagic)) {
    decoder_ = std::make_unique<Zstd>(*this);
  }
}

ByteSource::~ByteSource() { close(fd_); }

// Appends what the file gives next to what waits; false at its end.
bool ByteSource::refill() {
  if (at_end_) return false;
  input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(at_));
  at_ = 0;
  const size_t have = input_.size();
  input_.resize(have + kInputBytes);
  ssize_t n = 0;
  do {
    n = ::read(fd_, input_.data() + have, kInputBytes);
  } while (n < 0 && errno == EINTR);
  input_.resize(have + (n > 0 ? static_cast<size_t>(n) : 0));
  if (n < 0) throw FileError(system_error_message("read", name_));
  taken_ += n;
  at_end_ = n == 0;
  return n > 0;
}

// Of a file that is not compressed: what waits, else straight from the file.
size_t ByteSource::take(char* to, size_t most) {
  if (waiting() > 0) {
    const size_t n = std::min(most, waiting());
    std::memcpy(to, input_.data() + at_, n);
    at_ += n;
    return n;
  }
  if (at_end_) return 0;
  ssize_t n = 0;
  do {
    n = ::read(fd_, to, most);
  } while (n < 0 && errno == EINTR);
  if (n < 0) throw FileError(system_error_message("read", name_));
  taken_ += n;
  at_end_ = n == 0;
  return static_cast<size_t>(n);
}

size_t ByteSource::read(char* to, size_t most) {
  return decoder_ ? decoder_->read(to, most) : take(to, most);
}

int64_t size_on_disk(const Path& path) {
  if (path == kStandardInput) return 0;
  std::error_code unknown;
  const auto size = std::filesystem::file_size(path, unknown);
  return unknown ? 0 : static_cast<int64_t>(size);
}

}  // namespace msltx::text
