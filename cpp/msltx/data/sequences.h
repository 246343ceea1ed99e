// Sequences: the rows of training batches, addressed by number. Row `number` of a run is a function
// of the split, the length, the seed and the number alone, and is made at once.
//
// T tokens a row. targets[t] is the token after tokens[t], or kIgnore where there is none.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include "msltx/data/documents.h"

namespace msltx::data {

inline constexpr int32_t kIgnore = -1;  // a target that counts for nothing

// Places for one row. `documents` is empty where it is not wanted; else it gets, for each token,
// the number of its document within the row, from 0 on, padding counting as one more. Targets are
// then kept inside documents: that of a document's last token is kIgnore.
struct Row {
  std::span<int32_t> tokens, targets, documents;
};

enum class RowMode : uint8_t {
  windows,  // the text in its order, cut every T tokens; the places are shuffled
  packed,   // the documents in a shuffled order, one after the other, cut every T tokens
  padded,   // a document a row, cut after T + 1 tokens or padded; the documents are shuffled
};

RowMode row_mode_from_name(std::string_view name);  // throws ValueError

struct RowShape {
  int64_t length = 1;  // T
  int32_t pad_id = 0;  // fills tokens where a text is shorter than T
};

// Tokens [first, end) of a split into a row, as far as they have a target among them, and padding
// after that. Returns how many targets count.
int64_t fill_in_order(const TokenSplit& split, int64_t first, int64_t end, const Row& row,
                      int32_t pad_id);

void check_tokens(const TokenSplit& split);  // throws ValueError below two tokens

class Sequences {
 public:
  virtual ~Sequences() = default;
  virtual int64_t per_epoch() const = 0;
  // number >= 0; the row's spans have T places.
  virtual void fill(int64_t number, const Row& row) const = 0;
};

// Rows of one split. `with_documents`: rows may ask for documents; always so but for windows, which
// otherwise do without the indexes of the shards. Throws ValueError for sizes below 1 and for a
// split of fewer than two tokens. The split must outlive them.
std::unique_ptr<Sequences> make_sequences(const TokenSplit& split, RowMode mode,
                                          const RowShape& shape, uint64_t seed,
                                          bool with_documents);

// Rows of several, in shares that every run of rows keeps: of any first n rows, each has its share
// of n to within one for each source. Weights need not sum to 1.
class MixedSequences : public Sequences {
 public:
  // Throws ValueError unless there is a weight above 0 for each source.
  MixedSequences(std::vector<std::shared_ptr<const Sequences>> sources,
                 const std::vector<double>& weights);

  int64_t per_epoch() const override;  // of all together
  void fill(int64_t number, const Row& row) const override;

  struct Place {
    size_t source;
    int64_t number;  // among the source's rows
  };
  Place place(int64_t number) const;

 private:
  std::vector<std::shared_ptr<const Sequences>> sources_;
  std::vector<uint64_t> shares_;  // of source i among itself and those after it, times 2^63
};

}  // namespace msltx::data
