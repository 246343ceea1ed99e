#include "msltx/data/resplit.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "msltx/base/error.h"
#include "msltx/data/dataset_writer.h"
#include "msltx/text/json.h"
#include "msltx/text/piece_table.h"

namespace msltx::data {
namespace {

using json = nlohmann::ordered_json;

// A document with more tokens is dealt out in pieces, which bound the memory: files of other
// projects may be one document. Documents prepared here have far fewer.
constexpr int64_t kPieceTokens = 1 << 20;
constexpr int64_t kReportTokens = 1 << 20;

class Resplit {
 public:
  Resplit(const Dataset& dataset, const ResplitOptions& options, Executor& executor,
          const text::ProgressFn& progress)
      : dataset_(dataset), options_(options), executor_(executor), progress_(progress) {
    for (const char* name : kSplitNames) total_ += dataset.split(name).tokens();
  }

  void write(const Path& folder, const std::string& tokenizer_json) {
    SplitWriter train(folder, kSplitNames[0], dataset_.vocab_size(), options_.shard_tokens);
    SplitWriter val(folder, kSplitNames[1], dataset_.vocab_size(), options_.shard_tokens);
    for (const char* name : kSplitNames) deal_out(dataset_.split(name), train, val);
    if (train.tokens() == 0) {
      throw ValueError(concat("val_fraction is ", options_.val_fraction,
                              ", by which no document fell into the training split; 0 holds none "
                              "out"));
    }
    write_file(folder / kTokenizerName, tokenizer_json);
    json meta = json::parse(dataset_.meta_json());
    meta["version"] = kFormatVersion;
    meta["val_fraction"] = options_.val_fraction;
    meta["split_by"] = "ids";
    meta["splits"] = {{kSplitNames[0], train.finish()}, {kSplitNames[1], val.finish()}};
    write_file(folder / kMetaName, meta.dump(2) + '\n');
  }

 private:
  void deal_out(const TokenSplit& split, SplitWriter& train, SplitWriter& val) {
    std::vector<int32_t> ids;
    int64_t bytes_given = 0, tokens_given = 0;  // of the split
    for (const Shard& shard : split.shards()) {
      const DocumentIndex index = shard.index();
      for (int64_t i = 0; i < index.documents(); ++i) {
        const int64_t begin = index.begin(i), end = index.begin(i + 1);
        for (int64_t at = begin; at < end || at == begin; at += kPieceTokens) {
          const int64_t here = std::min(kPieceTokens, end - at);
          ids.resize(static_cast<size_t>(here));
          shard.read(at, ids);
          tokens_given += here;
          int64_t bytes = 0;
          if (index.has_bytes()) {
            bytes = at == begin ? index.bytes_before(i + 1) - index.bytes_before(i) : 0;
          } else {
            // An older dataset knows the bytes of the split alone: shared out by tokens.
            const auto share = static_cast<double>(tokens_given) /
                               static_cast<double>(std::max<int64_t>(1, split.tokens()));
            bytes = static_cast<int64_t>(share * static_cast<double>(split.bytes())) - bytes_given;
          }
          bytes_given += bytes;
          (belongs_to_val(ids, options_.val_fraction) ? val : train).add_document(ids, bytes);
          report(here);
        }
      }
    }
  }

  void report(int64_t tokens) {
    const int64_t before = done_;
    done_ += tokens;
    if (before / kReportTokens == done_ / kReportTokens && done_ < total_) return;
    executor_.check_cancelled();
    if (progress_) progress_({"split", done_, total_});
  }

  const Dataset& dataset_;
  const ResplitOptions& options_;
  Executor& executor_;
  const text::ProgressFn& progress_;
  int64_t done_ = 0, total_ = 0;
};

}  // namespace

bool belongs_to_val(std::span<const int32_t> ids, double val_fraction) {
  const auto bytes = std::as_bytes(ids);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return share_of_hash(text::hash_bytes(text)) < val_fraction;
}

void resplit(const Dataset& dataset, const std::string& tokenizer_json, const Path& out,
             const ResplitOptions& options, Executor& executor, const text::ProgressFn& progress) {
  check_share(options.val_fraction, options.shard_tokens);
  const Path place = check_place(out, options.overwrite);
  remove_abandoned(place);
  AtomicFolder folder(place, Existing::replace);
  executor.run(
      [&] { Resplit(dataset, options, executor, progress).write(folder.path(), tokenizer_json); });
  check_place(out, options.overwrite);
  folder.commit();
}

}  // namespace msltx::data
