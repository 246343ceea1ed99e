#include "msltx/ops/cpu/onednn.h"

#include <omp.h>
#include <pthread.h>
#include <dnnl.hpp>

#include <algorithm>
#include <array>
#include <mutex>
#include <unordered_map>

#include "msltx/base/error.h"

// Exported by oneDNN, in no header of it; null where a version has dropped it.
extern "C" [[gnu::weak]] dnnl_status_t dnnl_gemm_bf16bf16f32(char transa, char transb, dnnl_dim_t m,
                                                             dnnl_dim_t n, dnnl_dim_t k,
                                                             float alpha, const uint16_t* a,
                                                             dnnl_dim_t lda, const uint16_t* b,
                                                             dnnl_dim_t ldb, float beta, float* c,
                                                             dnnl_dim_t ldc);

namespace msltx::ops::cpu {
namespace {

using dnnl::memory;

// A primitive's own scratch was 640 bytes for every shape tried; one that accumulates over more
// than 512 inner elements adds up rows x 64 sums there, of at most 256 rows. Checked where one is
// made.
constexpr int64_t kPrimitiveScratch = int64_t{68} << 10;
// oneDNN's sgemm takes rows by the 6 or 8 and gives other bits to what is left over: rows beyond a
// multiple of 24 are padded to one.
constexpr int64_t kGemmRows = 24;
// Primitives kept by a thread. A training step has some 20 shapes; prompts of all lengths more.
constexpr size_t kMaxPrimitives = 512;

// Holds OpenMP to one thread on this thread while it lives, and leaves no trace on a thread that is
// not ours: PyTorch in the same process keeps its own number.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) {
    if (before_ != 1) omp_set_num_threads(1);
  }
  ~OneThread() {
    if (before_ != 1) omp_set_num_threads(before_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

const dnnl::engine& engine() {
  // Never destroyed: a worker may still be inside a product when static objects go.
  static const auto* cpu = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *cpu;
}

memory::data_type type_of(DType dtype) {
  return dtype == DType::bfloat16 ? memory::data_type::bf16 : memory::data_type::f32;
}

memory::desc plain(int64_t rows, int64_t cols, DType dtype = DType::float32) {
  return {{rows, cols}, type_of(dtype), memory::dims{cols, 1}};
}

// Version 2 has a description of its own for each primitive, version 3 has not. Bias may be empty.
template <class Matmul>
auto describe(const memory::desc& x, const memory::desc& weights, const memory::desc& bias,
              const memory::desc& y, const dnnl::primitive_attr& attributes) {
  using Described = typename Matmul::primitive_desc;
  if constexpr (requires { typename Matmul::desc; }) {
    return Described(typename Matmul::desc(x, weights, bias, y), attributes, engine());
  } else {
    return Described(engine(), x, weights, bias, y, attributes);
  }
}

dnnl::matmul::primitive_desc describe(const Product& p) {
  const auto format =
      p.from == DType::bfloat16 ? memory::format_tag::BA16a64b2a : memory::format_tag::BA16a64b;
  const memory::desc weights({p.inner, p.outer}, type_of(p.from), format);
  const auto x = plain(p.rows, p.inner, p.from), y = plain(p.rows, p.outer, p.to);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (p.accumulate) {
    dnnl::post_ops add;
    add.append_sum();
    attributes.set_post_ops(add);
  }
  return describe<dnnl::matmul>(x, weights, p.bias ? plain(1, p.outer) : memory::desc(), y,
                                attributes);
}

class Primitive {
 public:
  explicit Primitive(const Product& p) {
    const auto desc = describe(p);
    const auto scratch = desc.scratchpad_desc();
    if (static_cast<int64_t>(scratch.get_size()) > kPrimitiveScratch) {
      throw Error(concat("oneDNN asks for ", scratch.get_size(), " bytes of scratch for a product ",
                         p.rows, " x ", p.inner, " x ", p.outer, "; the limit is ",
                         kPrimitiveScratch));
    }
    matmul_ = dnnl::matmul(desc);
    add(DNNL_ARG_SRC, kX, desc.src_desc());
    add(DNNL_ARG_WEIGHTS, kWeights, desc.weights_desc());
    add(DNNL_ARG_DST, kY, desc.dst_desc());
    add(DNNL_ARG_SCRATCHPAD, kScratch, scratch);
    if (p.bias) add(DNNL_ARG_BIAS, kBias, desc.bias_desc());
  }

  void run(const dnnl::stream& stream, void* y, const void* x, const void* packed,
           const float* bias, std::byte* scratch) {
    memories_[kX].set_data_handle(const_cast<void*>(x));
    // Setting a handle writes the zeros of the padding again, which other workers are reading.
    if (packed != packed_) memories_[kWeights].set_data_handle(const_cast<void*>(packed));
    packed_ = packed;
    memories_[kY].set_data_handle(y);
    memories_[kScratch].set_data_handle(scratch);
    if (bias) memories_[kBias].set_data_handle(const_cast<float*>(bias));
    // The C call takes the arguments as they lie here; the C++ one would copy them into a new list.
    dnnl::error::wrap_c_api(
        dnnl_primitive_execute(matmul_.get(), stream.get(), bias ? 5 : 4, arguments_.data()),
        "a matrix product failed");
  }

 private:
  enum { kX, kWeights, kY, kScratch, kBias };
  void add(int argument, size_t at, const memory::desc& desc) {
    memories_[at] = memory(desc, engine(), nullptr);
    arguments_[at] = {argument, memories_[at].get()};
  }

  dnnl::matmul matmul_;
  std::array<memory, 5> memories_;
  std::array<dnnl_exec_arg_t, 5> arguments_{};
  const void* packed_ = nullptr;
};

struct HashProduct {
  size_t operator()(const Product& p) const {
    uint64_t h = static_cast<uint64_t>(p.rows);
    const int64_t kind = int64_t{p.bias} + 2 * int64_t{p.accumulate} +
                         4 * static_cast<int64_t>(p.from) + 32 * static_cast<int64_t>(p.to);
    for (const int64_t v : {p.inner, p.outer, kind}) {
      h = (h ^ static_cast<uint64_t>(v)) * 0x9E3779B97F4A7C15u;
      h ^= h >> 32;
    }
    return h;
  }
};

// Held while a primitive is made: oneDNN shares out of one cache what threads make alike, under
// locks that the thread sanitizer does not see. fork() waits for it, or a child would find oneDNN's
// locks held by a thread that it does not have.
std::mutex making;
[[maybe_unused]] const int forks_wait =
    pthread_atfork([] { making.lock(); }, [] { making.unlock(); }, [] { making.unlock(); });

struct ThreadProducts {
  dnnl::stream stream{engine()};
  std::unordered_map<Product, Primitive, HashProduct> primitives;

  Primitive& get(const Product& p) {
    if (const auto it = primitives.find(p); it != primitives.end()) return it->second;
    if (primitives.size() >= kMaxPrimitives) primitives.clear();
    const std::lock_guard lock(making);  // never in a step once its shapes are known
    return primitives.try_emplace(p, p).first->second;
  }
};

// Whether oneDNN has its packed kernel on this machine (AVX-512).
bool has_packed_kernel() {
  static const bool has =
      implementation({.rows = 64, .inner = 64, .outer = 64}).find("brg") != std::string::npos;
  return has;
}

void check(dnnl_status_t status) {
  if (status != dnnl_success) throw Error(concat("oneDNN gemm failed with status ", status));
}

// Panel by panel through sgemm; rows a multiple of kGemmRows.
void run_panels(int64_t rows, int64_t inner, int64_t outer, bool accumulate, float* y,
                const float* x, const float* packed) {
  for (int64_t c = 0; c < outer; c += kPanel) {
    check(dnnl_sgemm('N', 'N', rows, std::min(kPanel, outer - c), inner, 1, x, inner,
                     packed + c / kPanel * panel_stride<float>(inner), kPanel,
                     accumulate ? 1.0f : 0.0f, y + c, outer));
  }
}

void run_plain(const Product& p, float* y, const float* x, const float* packed, const float* bias,
               std::byte* scratch) {
  const int64_t whole = p.rows / kGemmRows * kGemmRows, left = p.rows - whole;
  if (whole > 0) run_panels(whole, p.inner, p.outer, p.accumulate, y, x, packed);
  if (left > 0) {
    auto* padded = reinterpret_cast<float*>(scratch);
    float* result = padded + kGemmRows * p.inner;
    std::copy_n(x + whole * p.inner, left * p.inner, padded);
    std::fill(padded + left * p.inner, result, 0.0f);
    for (int64_t c = 0; c < p.outer; c += kPanel) {
      const int64_t columns = std::min(kPanel, p.outer - c);
      float* to = y + whole * p.outer + c;
      std::fill_n(result, kGemmRows * columns, 0.0f);
      for (int64_t r = 0; p.accumulate && r < left; ++r) {
        std::copy_n(to + r * p.outer, columns, result + r * columns);
      }
      run_panels(kGemmRows, p.inner, columns, p.accumulate, result, padded,
                 packed + c / kPanel * panel_stride<float>(p.inner));
      for (int64_t r = 0; r < left; ++r) {
        std::copy_n(result + r * columns, columns, to + r * p.outer);
      }
    }
  }
  for (int64_t r = 0; bias && r < p.rows; ++r) {
    for (int64_t c = 0; c < p.outer; ++c) y[r * p.outer + c] += bias[c];
  }
}

}  // namespace

bool has_bfloat16_products() {
  static const bool has = [] {
    if (!dnnl_gemm_bf16bf16f32) return false;
    const Product product{
        .rows = 64, .inner = 64, .outer = 64, .from = DType::bfloat16, .to = DType::bfloat16};
    std::string name;
    try {
      name = implementation(product);
    } catch (const dnnl::error&) {  // none at all
      return false;
    }
    return name.find("brg") != std::string::npos &&
           (name.find("bf16") != std::string::npos || name.find("amx") != std::string::npos);
  }();
  return has;
}

int64_t product_scratch(int64_t inner) {
  return has_packed_kernel() ? kPrimitiveScratch
                             : kGemmRows * (inner + kPanel) * static_cast<int64_t>(sizeof(float));
}

void run(const Product& p, void* y, const void* x, const void* packed, const float* bias,
         std::byte* scratch) {
  if (p.rows == 0 || p.outer == 0) return;
  const OneThread one;
  if (!has_packed_kernel()) {
    return run_plain(p, static_cast<float*>(y), static_cast<const float*>(x),
                     static_cast<const float*>(packed), bias, scratch);
  }
  thread_local ThreadProducts products;
  products.get(p).run(products.stream, y, x, packed, bias, scratch);
}

std::string implementation(const Product& product) {
  const OneThread one;
  return describe(product).impl_info_str();
}

void run_transposed(float* c, int64_t ldc, const float* a, int64_t lda, const float* b, int64_t ldb,
                    int64_t m, int64_t n, int64_t rows, bool accumulate) {
  if (rows == 0) {
    for (int64_t i = 0; i < m && !accumulate; ++i) std::fill_n(c + i * ldc, n, 0.0f);
    return;
  }
  const OneThread one;
  check(dnnl_sgemm('T', 'N', m, n, rows, 1, a, lda, b, ldb, accumulate ? 1.0f : 0.0f, c, ldc));
}

void run_transposed(float* c, int64_t ldc, const bfloat16* a, int64_t lda, const bfloat16* b,
                    int64_t ldb, int64_t m, int64_t n, int64_t rows, bool accumulate) {
  if (rows == 0) {
    for (int64_t i = 0; i < m && !accumulate; ++i) std::fill_n(c + i * ldc, n, 0.0f);
    return;
  }
  const OneThread one;
  check(dnnl_gemm_bf16bf16f32('T', 'N', m, n, rows, 1, &a->bits, lda, &b->bits, ldb,
                              accumulate ? 1.0f : 0.0f, c, ldc));
}

}  // namespace msltx::ops::cpu
