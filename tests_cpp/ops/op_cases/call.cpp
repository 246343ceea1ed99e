#include "ops/op_cases/call.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>

#include "msltx/base/error.h"
#include "msltx/ops/stream.h"
#include "msltx/ops/widened.h"
#include "ops/op_cases/allocations.h"

namespace msltx::ops::op_cases {
namespace {

// NaNs that no computation makes by itself, the second in either half.
constexpr uint32_t kPattern = 0x7fc0dead, kHalfPattern = 0x7fc17fc1;
constexpr int64_t kGuard = 16;          // words on each side of a field
constexpr int64_t kScratchGuard = 256;  // bytes behind scratch

// A field's memory: guard words, the elements with gaps of `strided`, guard words.
struct Memory {
  std::vector<uint32_t> words, before;
  Tensor tensor;

  uint32_t pattern() const { return tensor.dtype == DType::bfloat16 ? kHalfPattern : kPattern; }
  // What an element is as the bits of a float32 or int32, of where it was not written.
  uint32_t unwritten() const {
    return tensor.dtype == DType::bfloat16 ? kHalfPattern & 0xffff0000u : kPattern;
  }
  uint32_t get(int64_t offset) const {
    if (tensor.dtype == DType::bfloat16)
      return uint32_t{tensor.data<bfloat16>()[offset].bits} << 16;
    return tensor.data<uint32_t>()[offset];
  }
  void set(int64_t offset, uint32_t bits) {
    if (tensor.dtype == DType::bfloat16) {
      tensor.data<bfloat16>()[offset].bits = static_cast<uint16_t>(bits >> 16);
    } else {
      tensor.data<uint32_t>()[offset] = bits;
    }
  }
  void restore(int64_t offset) {
    const auto size = static_cast<size_t>(size_of(tensor.dtype));
    const ptrdiff_t at = (tensor.data<char>() - reinterpret_cast<char*>(words.data())) +
                         offset * static_cast<ptrdiff_t>(size);
    std::memcpy(reinterpret_cast<char*>(words.data()) + at,
                reinterpret_cast<const char*>(before.data()) + at, size);
  }

  // fn(offset, i) for every element, i counting in the order of the axes.
  template <class Fn>
  void for_each(Fn&& fn) {
    for (int64_t i = 0, n = tensor.size(); i < n; ++i) {
      int64_t rest = i, offset = 0;
      for (int axis = tensor.rank - 1; axis >= 0; --axis) {
        offset += rest % tensor.dim(axis) * tensor.stride(axis);
        rest /= tensor.dim(axis);
      }
      fn(offset, i);
    }
  }
};

// Activations may be views: rows with gaps between them, heads inside rows.
std::vector<int64_t> strides_of(const FieldInfo& field, const std::vector<int64_t>& shape,
                                bool strided) {
  const size_t rank = shape.size();
  std::vector<int64_t> strides(rank, 1);
  const bool rows = field.axes.starts_with("N ");
  const bool is_view =
      strided && (rows || (field.axes.starts_with("B ") && field.element != Element::float32 &&
                           field.element != Element::int32));
  for (size_t i = rank - 1; i-- > 0;) {
    const int64_t gap = is_view && i + 2 == rank ? 5 : 0;
    strides[i] = strides[i + 1] * shape[i + 1] + gap;
  }
  if (is_view && field.axes.ends_with(" hs")) {
    strides = {shape[2] * (shape[1] * shape[3] + 7), shape[3], shape[1] * shape[3] + 7, 1};
  }
  return strides;
}

class Call {
 public:
  Call(const Problem& problem, bool aliased) : info_(*problem.info), problem_(problem) {
    memory_.resize(info_.fields.size());
    for (size_t i = 0; i < memory_.size(); ++i) {
      const FieldInfo& field = info_.fields[i];
      if (!problem.has(field.name) || shares(field, aliased)) continue;
      allocate(i, field);
    }
    op_.resize((info_.size + sizeof(std::max_align_t) - 1) / sizeof(std::max_align_t));
    info_.construct(op_.data());
    for (const AttributeInfo& attribute : info_.attributes) set(attribute);
    for (size_t i = 0; i < memory_.size(); ++i) {
      const FieldInfo& field = info_.fields[i];
      if (!problem.has(field.name)) continue;
      if (shares(field, aliased)) shared_[i] = problem.index(field.may_alias);
      OpInfo::tensor(op_.data(), field) = owner(i).tensor;
    }
    check(info_, op_.data());
  }

  const void* op() const { return op_.data(); }

  // The op on `count` rows from `first` on.
  std::vector<std::max_align_t> rows(int64_t first, int64_t count, int64_t partial_rows) const {
    std::vector<std::max_align_t> part = op_;
    const std::string_view letter = row_letter(info_);
    for (const FieldInfo& field : info_.fields) {
      Tensor& tensor = OpInfo::tensor(part.data(), field);
      if (!tensor.defined()) continue;
      const std::string_view first_axis = field.axes.substr(0, field.axes.find(' '));
      if (first_axis == letter) tensor = tensor.rows(first, count);
      if (first_axis == "P") tensor = tensor.rows(first / partial_rows, 1);
    }
    return part;
  }

  static std::string_view row_letter(const OpInfo& info) {
    std::string_view letter;
    for (const FieldInfo& field : info.fields) {
      if (!field.is_output()) continue;
      const std::string_view first = field.axes.substr(0, field.axes.find(' '));
      if (first == "P") continue;
      if (first != "N" && first != "B" && first != "M") return {};
      if (!letter.empty() && letter != first) return {};
      letter = first;
    }
    return letter;
  }

  // Outputs, and what was touched besides them.
  Outcome finish() {
    Outcome result;
    result.outputs.resize(memory_.size());
    for (size_t i = 0; i < memory_.size(); ++i) {
      const FieldInfo& field = info_.fields[i];
      if (!field.is_output() || !problem_.has(field.name)) continue;
      Memory& memory = owner(i);
      Values& out = result.outputs[i];
      out.shape = problem_.fields[i].shape;
      out.words.resize(static_cast<size_t>(memory.tensor.size()));
      memory.for_each([&](int64_t offset, int64_t k) {
        const uint32_t bits = memory.get(offset);
        if (bits == memory.unwritten() && result.damage.empty()) {
          result.damage = concat(field.name, " element ", k, " was not written, or from poison");
        }
        out.words[static_cast<size_t>(k)] = bits;
        memory.restore(offset);
      });
    }
    for (size_t i = 0; i < memory_.size(); ++i) {
      const auto& [words, before, tensor] = memory_[i];
      const auto differ = std::mismatch(words.begin(), words.end(), before.begin());
      if (differ.first == words.end()) continue;
      result.damage = concat(info_.fields[i].name, " was written outside of its elements: word ",
                             differ.first - words.begin() - kGuard, " of ",
                             static_cast<int64_t>(words.size()) - 2 * kGuard);
    }
    return result;
  }

 private:
  bool shares(const FieldInfo& field, bool aliased) const {
    return aliased && !field.may_alias.empty() && problem_.has(field.may_alias) &&
           problem_.type(field) == problem_.type(*info_.find_field(field.may_alias));
  }
  Memory& owner(size_t i) { return memory_[shared_[i] ? *shared_[i] : i]; }

  void allocate(size_t i, const FieldInfo& field) {
    const Values& values = problem_.fields[i];
    const auto strides = strides_of(field, values.shape, problem_.c.strided);
    int64_t extent = values.count() == 0 ? 0 : 1;
    for (size_t axis = 0; axis < strides.size() && extent > 0; ++axis) {
      extent += (values.shape[axis] - 1) * strides[axis];
    }
    Memory& memory = memory_[i];
    const DType type = problem_.type(field);
    memory.tensor = Tensor::host(nullptr, type, values.shape);
    const int64_t words = (extent * size_of(type) + 3) / 4;
    memory.words.assign(static_cast<size_t>(words + 2 * kGuard), memory.pattern());
    memory.tensor = Tensor::host(memory.words.data() + kGuard, type, values.shape);
    std::copy(strides.begin(), strides.end(), memory.tensor.strides.begin());
    if (is_given(problem_, field)) {
      memory.for_each([&](int64_t offset, int64_t k) {
        memory.set(offset, values.words[static_cast<size_t>(k)]);
      });
    }
    memory.before = memory.words;
  }

  void set(const AttributeInfo& attribute) {
    double value = problem_.attribute(attribute.name);
    if (!attribute.axis.empty()) value = static_cast<double>(problem_.size(attribute.axis));
    void* op = op_.data();
    switch (attribute.type) {
      case AttributeType::number:
        OpInfo::value<float>(op, attribute) = static_cast<float>(value);
        break;
      case AttributeType::number64:
        OpInfo::value<double>(op, attribute) = value;
        break;
      case AttributeType::boolean:
        OpInfo::value<bool>(op, attribute) = value != 0;
        break;
      case AttributeType::integer:
      case AttributeType::choice:
        OpInfo::value<int64_t>(op, attribute) = static_cast<int64_t>(value);
        break;
    }
  }

  const OpInfo& info_;
  const Problem& problem_;
  std::vector<Memory> memory_;
  std::vector<std::max_align_t> op_;
  std::vector<std::optional<size_t>> shared_ =
      std::vector<std::optional<size_t>>(info_.fields.size());
};

// Scratch of exactly what the op asks for, filled with the pattern, and guard bytes behind.
class GuardedScratch {
 public:
  GuardedScratch(int workers, ScratchNeed need, bool serial) : scratch_(workers) {
    per_worker_ = Arena::aligned(need.per_worker) + (serial ? need.shared : 0);
    shared_ = serial ? 0 : need.shared;
    for (int w = 0; w < workers; ++w) scratch_.reserve_worker(w, per_worker_ + kScratchGuard);
    scratch_.reserve_shared(shared_ + kScratchGuard);
    for (int w = 0; w < workers; ++w) fill(scratch_.worker(w), per_worker_ + kScratchGuard);
    fill(scratch_.shared(), shared_ + kScratchGuard);
  }
  Scratch& get() { return scratch_; }
  bool intact() const {
    bool intact = is_filled(scratch_.shared() + shared_);
    for (int w = 0; w < scratch_.workers(); ++w) {
      intact = intact && is_filled(scratch_.worker(w) + per_worker_);
    }
    return intact;
  }

 private:
  static constexpr int kByte = 0xff;  // NaN as float32 and float64
  static void fill(std::byte* first, int64_t bytes) {
    std::memset(first, kByte, static_cast<size_t>(bytes));
  }
  static bool is_filled(const std::byte* guard) {
    return std::all_of(guard, guard + kScratchGuard,
                       [](std::byte b) { return b == std::byte{kByte}; });
  }
  Scratch scratch_;
  int64_t per_worker_, shared_;
};

ScratchNeed need_of(const Backend& backend, const OpInfo& info, const void* op) {
  const Kernel& kernel = backend.kernel(static_cast<size_t>(info.index));
  return scratch_need(kernel, info, op);
}

int64_t row_count(const Problem& problem) { return problem.size(Call::row_letter(*problem.info)); }

}  // namespace

Outcome run(const Problem& problem, const Backend& backend, Executor& executor, const Way& way) {
  const auto index = static_cast<size_t>(problem.info->index);
  Call call(problem, way.aliased);
  const int64_t rows = way.chunk_rows > 0 ? row_count(problem) : 0;
  std::vector<std::vector<std::max_align_t>> chunks;
  for (int64_t first = 0; first < rows; first += way.chunk_rows) {
    chunks.push_back(call.rows(first, std::min(way.chunk_rows, rows - first), way.chunk_rows));
  }
  ScratchNeed need = need_of(backend, *problem.info, call.op());
  if (!chunks.empty()) need = {};
  for (const auto& chunk : chunks) {  // all that is asked for is per worker, then
    const ScratchNeed own = need_of(backend, *problem.info, chunk.data());
    need.per_worker = std::max(need.per_worker, Arena::aligned(own.per_worker) + own.shared);
  }
  const bool serial = way.serial || way.chunk_rows > 0;
  GuardedScratch scratch(executor.threads(), need, serial);
  Stream stream(backend, executor, scratch.get());
  if (!serial) {
    stream.encode(index, call.op());
  } else {
    executor.parallel_for(
        chunks.empty() ? 1 : static_cast<int64_t>(chunks.size()), [&](int64_t task, int worker) {
          Stream own = stream.serial(worker);
          own.encode(index, chunks.empty() ? call.op() : chunks[static_cast<size_t>(task)].data());
        });
  }
  stream.wait();
  Outcome result = call.finish();
  if (!scratch.intact()) result.damage = "scratch was written past what the op asked for";
  return result;
}

std::vector<Values> run_reference(const Problem& problem) {
  static Executor executor(1);
  Outcome result = run(problem, backend("reference"), executor);
  if (!result.damage.empty()) throw Error(concat(problem.info->name, ": ", result.damage));
  return std::move(result.outputs);
}

int64_t largest_allocation(const Problem& problem, const Backend& backend, Executor& executor) {
  const auto index = static_cast<size_t>(problem.info->index);
  const Call call(problem, false);
  GuardedScratch scratch(executor.threads(), need_of(backend, *problem.info, call.op()), false);
  Stream stream(backend, executor, scratch.get());
  int64_t largest = 0;
  executor.run([&] {
    stream.encode(index, call.op());
    const AllocationWatch watch;
    stream.encode(index, call.op());
    largest = watch.largest();
  });
  return largest;
}

std::vector<int64_t> chunk_rows_of(const Problem& problem) {
  const std::string_view op = problem.info->name;
  if (Call::row_letter(*problem.info).empty()) return {};
  // Without a given one, the normalizer is the number of rows counted; without sequences, a row's
  // random stream is its index.
  if (op == "softmax_cross_entropy_backward" && problem.attribute("normalizer") == 0) return {};
  if (op == "categorical_sample" && !problem.has("sequences")) return {};
  if (problem.info->find_attribute("dropout") && problem.attribute("dropout") != 0 &&
      !problem.has("sequences")) {
    return {};
  }
  if (op.starts_with("dropout") && !problem.has("sequences")) return {};
  for (const FieldInfo& field : problem.info->fields) {
    if (!field.axes.starts_with("P ") || !problem.has(field.name)) continue;
    const auto rows = static_cast<int64_t>(problem.attribute("partial_rows"));
    return rows > 0 ? std::vector{rows} : std::vector<int64_t>{};
  }
  return {1, std::max<int64_t>(2, row_count(problem) / 3)};
}

bool can_alias(const Problem& problem) {
  return std::ranges::any_of(problem.info->fields, [&](const FieldInfo& field) {
    return !field.may_alias.empty() && problem.has(field.name) && problem.has(field.may_alias) &&
           problem.type(field) == problem.type(*problem.info->find_field(field.may_alias));
  });
}

}  // namespace msltx::ops::op_cases
