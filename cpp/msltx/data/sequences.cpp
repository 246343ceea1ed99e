#include "msltx/data/sequences.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "msltx/base/error.h"
#include "msltx/base/philox.h"
#include "msltx/data/permutation.h"

namespace msltx::data {
namespace {

constexpr int64_t kMostLength = int64_t{1} << 31;
// The draw that places an epoch's windows; the permutation draws with small indices.
constexpr uint32_t kOffsetDraw = 0xffffffffu;
constexpr std::array<std::string_view, 3> kModes{"windows", "packed", "padded"};

void pad(const Row& row, int64_t from, int32_t pad_id, int32_t document) {
  const auto rest = static_cast<size_t>(from);
  std::fill(row.tokens.begin() + from, row.tokens.end(), pad_id);
  std::fill(row.targets.begin() + from, row.targets.end(), kIgnore);
  if (!row.documents.empty()) {
    std::fill(row.documents.begin() + static_cast<std::ptrdiff_t>(rest), row.documents.end(),
              document);
  }
}

class WindowSequences : public Sequences {
 public:
  WindowSequences(const TokenSplit& split, const RowShape& shape, uint64_t seed,
                  bool with_documents)
      : split_(split), shape_(shape), seed_(seed) {
    // One window less leaves room to begin anywhere in a window's length.
    windows_ = std::max<int64_t>(1, (split.tokens() - 1) / shape.length - 1);
    if (with_documents) documents_ = std::make_unique<Documents>(split);
  }

  int64_t per_epoch() const override { return windows_; }

  void fill(int64_t number, const Row& row) const override {
    const auto round = static_cast<uint32_t>(number / windows_);
    const int64_t room = split_.tokens() - 1 - windows_ * shape_.length;  // to begin later
    int64_t begin = 0;
    if (room > 0) {
      const auto draw = philox(seed_, RandomStream::batches, round, kOffsetDraw, kOffsetDraw);
      begin = static_cast<int64_t>(draw[0] % static_cast<uint64_t>(room + 1));
    }
    begin += Permutation(windows_, seed_, round)(number % windows_) * shape_.length;
    const int64_t here = fill_in_order(split_, begin, split_.tokens(), row, shape_.pad_id);
    if (!row.documents.empty()) mark_documents(begin, here, row);
  }

 private:
  void mark_documents(int64_t begin, int64_t here, const Row& row) const {
    int64_t document = documents_->containing(begin);
    int32_t in_row = 0;
    for (int64_t t = 0; t < here;) {
      const int64_t end = std::min(here, (*documents_)[document++].end - begin);
      if (end <= t) continue;  // an empty document
      std::fill(row.documents.begin() + t, row.documents.begin() + end, in_row++);
      const bool ends = begin + end == (*documents_)[document - 1].end;
      if (ends) row.targets[static_cast<size_t>(end) - 1] = kIgnore;
      t = end;
    }
    std::fill(row.documents.begin() + here, row.documents.end(), in_row);
  }

  const TokenSplit& split_;
  RowShape shape_;
  uint64_t seed_;
  int64_t windows_ = 0;
  std::unique_ptr<Documents> documents_;
};

// An epoch's order is a permutation; how many tokens stand before every kStride-th document of it
// is kept, the rest is walked.
class PackedSequences : public Sequences {
 public:
  PackedSequences(const TokenSplit& split, const RowShape& shape, uint64_t seed)
      : documents_(split), shape_(shape), seed_(seed) {
    rows_ = std::max<int64_t>(1, (split.tokens() - 1) / shape.length);
  }

  int64_t per_epoch() const override { return rows_; }

  void fill(int64_t number, const Row& row) const override {
    const auto epoch = epoch_of(static_cast<uint32_t>(number / rows_));
    const int64_t begin = number % rows_ * shape_.length;
    const auto block = std::upper_bound(epoch->before.begin(), epoch->before.end(), begin) -
                       epoch->before.begin() - 1;
    int64_t at = epoch->before[static_cast<size_t>(block)];  // tokens before document i
    int64_t i = block * kStride;
    const auto length = static_cast<int64_t>(row.tokens.size());
    int64_t t = 0;  // places filled; one token more is the last target
    int32_t in_row = 0;
    for (; t <= length && i < documents_.size(); ++i) {
      const Documents::Place document = documents_[epoch->order(i)];
      const int64_t skipped = std::max<int64_t>(0, begin - at);
      at += document.length();
      if (skipped >= document.length()) continue;
      t = add(document.begin + skipped, document.end, t, in_row++, row);
    }
    // `t` counts the token that is a target only.
    pad(row, std::clamp<int64_t>(t - 1, 0, length), shape_.pad_id, in_row);
  }

 private:
  static constexpr int64_t kStride = 64;
  struct Epoch {
    uint32_t round;
    Permutation order;
    std::vector<int64_t> before;
  };

  // Tokens [from, end) of the split at place t of the row on; the place after them.
  int64_t add(int64_t from, int64_t end, int64_t t, int32_t in_row, const Row& row) const {
    const auto length = static_cast<int64_t>(row.tokens.size());
    const TokenSplit& split = documents_.split();
    const int64_t here = std::min(end - from, length - t);
    if (here > 0)
      split.read(from, row.tokens.subspan(static_cast<size_t>(t), static_cast<size_t>(here)));
    const bool inside = !row.documents.empty();
    for (int64_t k = 0; k < here; ++k) {
      const auto place = static_cast<size_t>(t + k);
      if (place > 0) row.targets[place - 1] = inside && k == 0 ? kIgnore : row.tokens[place];
      if (inside) row.documents[place] = in_row;
    }
    if (here == end - from) return t + here;
    int32_t last = 0;
    split.read(from + here, {&last, 1});
    row.targets[static_cast<size_t>(length) - 1] = inside && here == 0 ? kIgnore : last;
    return length + 1;
  }

  std::shared_ptr<const Epoch> epoch_of(uint32_t round) const {
    const std::lock_guard guard(mutex_);
    if (!epoch_ || epoch_->round != round) {
      auto made = std::make_shared<Epoch>(Epoch{round, {documents_.size(), seed_, round}, {}});
      int64_t before = 0;
      for (int64_t i = 0; i < documents_.size(); ++i) {
        if (i % kStride == 0) made->before.push_back(before);
        before += documents_[made->order(i)].length();
      }
      epoch_ = std::move(made);
    }
    return epoch_;
  }

  Documents documents_;
  RowShape shape_;
  uint64_t seed_;
  int64_t rows_ = 0;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const Epoch> epoch_;  // the one asked for last
};

class PaddedSequences : public Sequences {
 public:
  PaddedSequences(const TokenSplit& split, const RowShape& shape, uint64_t seed)
      : documents_(split), shape_(shape), seed_(seed) {}

  int64_t per_epoch() const override { return documents_.size(); }

  void fill(int64_t number, const Row& row) const override {
    const auto round = static_cast<uint32_t>(number / documents_.size());
    const Permutation order(documents_.size(), seed_, round);
    const Documents::Place document = documents_[order(number % documents_.size())];
    const int64_t here =
        fill_in_order(documents_.split(), document.begin, document.end, row, shape_.pad_id);
    if (row.documents.empty()) return;
    std::fill(row.documents.begin(), row.documents.begin() + here, 0);
    std::fill(row.documents.begin() + here, row.documents.end(), 1);
  }

 private:
  Documents documents_;
  RowShape shape_;
  uint64_t seed_;
};

}  // namespace

int64_t fill_in_order(const TokenSplit& split, int64_t first, int64_t end, const Row& row,
                      int32_t pad_id) {
  const int64_t here =
      std::clamp<int64_t>(end - 1 - first, 0, static_cast<int64_t>(row.tokens.size()));
  if (here > 0) {
    const auto n = static_cast<size_t>(here);
    split.read(first, row.tokens.first(n));
    std::copy(row.tokens.begin() + 1, row.tokens.begin() + here, row.targets.begin());
    split.read(first + here, row.targets.subspan(n - 1, 1));
  }
  pad(row, here, pad_id, 0);
  return here;
}

void check_tokens(const TokenSplit& split) {
  if (split.tokens() < 2) {
    throw ValueError(concat("the ", split.name(), " split has ", split.tokens(),
                            " tokens; a batch takes at least 2"));
  }
}

RowMode row_mode_from_name(std::string_view name) {
  for (size_t i = 0; i < kModes.size(); ++i) {
    if (kModes[i] == name) return static_cast<RowMode>(i);
  }
  throw ValueError(concat("rows is ", name, "; it takes windows, packed or padded"));
}

std::unique_ptr<Sequences> make_sequences(const TokenSplit& split, RowMode mode,
                                          const RowShape& shape, uint64_t seed,
                                          bool with_documents) {
  if (shape.length < 1 || shape.length > kMostLength) {
    throw ValueError(concat("length is ", shape.length, "; it takes 1 to ", kMostLength));
  }
  check_tokens(split);
  switch (mode) {
    case RowMode::packed:
      return std::make_unique<PackedSequences>(split, shape, seed);
    case RowMode::padded:
      return std::make_unique<PaddedSequences>(split, shape, seed);
    case RowMode::windows:
      break;
  }
  return std::make_unique<WindowSequences>(split, shape, seed, with_documents);
}

MixedSequences::MixedSequences(std::vector<std::shared_ptr<const Sequences>> sources,
                               const std::vector<double>& weights)
    : sources_(std::move(sources)) {
  if (weights.size() != sources_.size() || weights.empty()) {
    throw ValueError(concat("there are ", weights.size(), " weights for ", sources_.size(),
                            " datasets; each takes one"));
  }
  for (const double weight : weights) {
    if (!(weight > 0) || !std::isfinite(weight)) {
      throw ValueError(concat("a weight is ", weight, "; it takes a number above 0"));
    }
  }
  double rest = 0;
  for (size_t i = weights.size(); i-- > 0;) {
    rest += weights[i];
    shares_.push_back(static_cast<uint64_t>(std::min(weights[i] / rest, 1.0) * 0x1p63));
  }
  std::reverse(shares_.begin(), shares_.end());
}

// Of the first n rows source 0 has round(n x its share), which says of each row whether it is one
// of them; the others go on to the sources after it in the same way.
MixedSequences::Place MixedSequences::place(int64_t number) const {
  __extension__ using Wide = unsigned __int128;
  auto n = static_cast<uint64_t>(number);
  for (size_t i = 0; i + 1 < sources_.size(); ++i) {
    const auto count = [&](uint64_t rows) {
      return static_cast<uint64_t>((Wide{rows} * shares_[i] + (Wide{1} << 62)) >> 63);
    };
    const uint64_t before = count(n);
    if (count(n + 1) > before) return {i, static_cast<int64_t>(before)};
    n -= before;
  }
  return {sources_.size() - 1, static_cast<int64_t>(n)};
}

int64_t MixedSequences::per_epoch() const {
  int64_t sum = 0;
  for (const auto& source : sources_) sum += source->per_epoch();
  return sum;
}

void MixedSequences::fill(int64_t number, const Row& row) const {
  const Place at = place(number);
  sources_[at.source]->fill(at.number, row);
}

}  // namespace msltx::data
