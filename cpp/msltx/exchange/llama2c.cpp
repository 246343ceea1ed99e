#include "msltx/exchange/llama2c.h"

#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>

#include "msltx/base/error.h"

namespace msltx::exchange {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr int64_t kFloat = 4;  // bytes
constexpr size_t kHeaderFields = 7;
constexpr size_t kHeaderBytes = kHeaderFields * sizeof(int32_t);
// No model of this format comes near; below it no product of the sizes leaves 64 bits.
constexpr int32_t kLargestField = 1 << 20;

[[noreturn]] void refuse(const Path& path, const std::string& why) {
  throw FileError(concat(path.string(), " is no llama2.c model: ", why));
}

model::GPTConfig read_header(const MappedFile& file) {
  const auto bytes = file.bytes();
  if (bytes.size() < kHeaderBytes) {
    refuse(file.path(), concat("it has ", bytes.size(), " bytes, less than a header"));
  }
  std::array<int32_t, kHeaderFields> header;
  std::memcpy(header.data(), bytes.data(), kHeaderBytes);
  for (size_t i = 0; i < kHeaderFields; ++i) {
    const int64_t value = i == 5 ? std::abs(int64_t{header[i]}) : header[i];
    if (value < 1 || value > kLargestField) {
      refuse(file.path(), concat("field ", i, " of its header is ", header[i]));
    }
  }
  model::GPTConfig config;
  config.embedding_dim = header[0];
  config.ff_dim = header[1];
  config.num_layers = header[2];
  config.num_heads = header[3];
  config.num_kv_heads = header[4];
  config.vocab_size = std::abs(int64_t{header[5]});
  config.context_length = header[6];
  config.tie_weights = header[5] > 0;  // a negative count says that the output has its own weight
  config.norm = model::Norm::rmsnorm;
  config.positions = {model::Position::rope};
  config.activation = model::Activation::swiglu;
  config.bias = model::BiasGroups::none();
  try {
    return model::complete(config);
  } catch (const ValueError& error) {
    refuse(file.path(), error.what());
  }
}

// Floats that follow the header.
double expected_floats(const model::GPTConfig& c) {
  const auto tables = static_cast<double>(c.context_length) * static_cast<double>(c.head_dim);
  return static_cast<double>(model::parameter_count(c)) + tables;
}

// Hands out the tensors in the order of the file.
class Cursor {
 public:
  explicit Cursor(const std::byte* data) : data_(data) {}
  void copy(float* to, int64_t count) {
    std::memcpy(to, data_, static_cast<size_t>(count * kFloat));
    skip(count);
  }
  void skip(int64_t count) { data_ += count * kFloat; }

 private:
  const std::byte* data_;
};

class Import {
 public:
  Import(model::GPT& model, Cursor cursor)
      : config_(model.config()), parameters_(model.parameters()), cursor_(cursor) {}

  void run() {
    const int64_t C = config_.embedding_dim, q = config_.attention_dim();
    const int64_t kv = config_.num_kv_heads * config_.head_dim, F = config_.ff_dim;
    whole("embed.tokens.weight");
    each_block("norm1.weight", 0, C);
    each_block("attn.qkv.weight", 0, q * C, config_.num_heads);
    each_block("attn.qkv.weight", q * C, kv * C, config_.num_kv_heads);
    each_block("attn.qkv.weight", (q + kv) * C, kv * C);
    each_block("attn.out.weight", 0, C * q);
    each_block("norm2.weight", 0, C);
    each_block("ff.in.weight", 0, F * C);
    each_block("ff.out.weight", 0, C * F);
    each_block("ff.in.weight", F * C, F * C);
    whole("norm.weight");
    cursor_.skip(config_.context_length * config_.head_dim);  // cosines and sines
    if (!config_.tie_weights) whole("head.weight");
    parameters_.changed();
  }

 private:
  void whole(const char* name) {
    const Tensor& value = parameters_.at(name).value;
    cursor_.copy(value.data(), value.size());
  }
  // The file has a tensor of all blocks, one after the other; `heads` where it is to be rotated.
  void each_block(const char* name, int64_t first, int64_t count, int64_t heads = 0) {
    for (int64_t i = 0; i < config_.num_layers; ++i) {
      float* to = parameters_.at(concat("blocks.", i, ".", name)).value.data() + first;
      if (heads == 0) {
        cursor_.copy(to, count);
      } else {
        copy_halves_apart(to, heads);
      }
    }
  }
  // Rows 2i and 2i + 1 of a head become rows i and i + hs/2.
  void copy_halves_apart(float* to, int64_t heads) {
    const int64_t C = config_.embedding_dim, half = config_.head_dim / 2;
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t i = 0; i < half; ++i) {
        cursor_.copy(to + (2 * h * half + i) * C, C);
        cursor_.copy(to + (2 * h * half + half + i) * C, C);
      }
    }
  }

  const model::GPTConfig& config_;
  model::Parameters& parameters_;
  Cursor cursor_;
};

}  // namespace

std::unique_ptr<model::GPT> load_llama2c(const Path& path, const model::GPTOptions& options) {
  const MappedFile file(path);
  const model::GPTConfig config = read_header(file);
  const double expected = static_cast<double>(kHeaderBytes) + kFloat * expected_floats(config);
  if (static_cast<double>(file.bytes().size()) != expected) {
    refuse(path, concat("its header asks for ", expected, " bytes; it has ", file.bytes().size()));
  }
  model::GPTOptions uninitialized = options;
  uninitialized.initialize = false;
  auto model = std::make_unique<model::GPT>(config, 0, uninitialized);
  Import(*model, Cursor(file.bytes().data() + kHeaderBytes)).run();
  return model;
}

}  // namespace msltx::exchange
