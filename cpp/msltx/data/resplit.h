// resplit(): a dataset's documents dealt out anew to train and val, without encoding them again.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "msltx/base/executor.h"
#include "msltx/base/file.h"
#include "msltx/data/dataset.h"
#include "msltx/data/prepare.h"
#include "msltx/text/progress.h"

namespace msltx::data {

struct ResplitOptions {
  double val_fraction = 0.1;
  int64_t shard_tokens = kShardTokens;
  bool overwrite = false;
};

// Writes the dataset `out`. Each document goes to train or val by the hash of its token ids, so
// that the same document always goes the same way; how it was split before does not matter.
// `tokenizer_json` is that of the dataset. `out` may be the dataset's own folder where overwrite is
// set. Throws as prepare() does.
void resplit(const Dataset& dataset, const std::string& tokenizer_json, const Path& out,
             const ResplitOptions& options, Executor& executor,
             const text::ProgressFn& progress = {});

// True when a document of these ids belongs to the validation split.
bool belongs_to_val(std::span<const int32_t> ids, double val_fraction);

}  // namespace msltx::data
