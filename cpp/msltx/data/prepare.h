// prepare(): text to a folder of token shards, in constant memory, in parallel.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "msltx/base/executor.h"
#include "msltx/base/file.h"
#include "msltx/data/document_reader.h"
#include "msltx/data/document_source.h"
#include "msltx/text/cleaning.h"
#include "msltx/text/progress.h"
#include "msltx/text/tokenizer.h"
#include "msltx/text/utf8.h"

namespace msltx::data {

inline constexpr int64_t kShardTokens = int64_t{1} << 27;

struct PrepareOptions {
  double val_fraction = 0.1;  // of documents, 0 to below 1
  Separator documents = Separator::blank_line;
  std::string separator;       // of Separator::text
  std::string field = "text";  // of JSON records
  text::Cleaning cleaning;
  text::InvalidUtf8 invalid_utf8 = text::InvalidUtf8::refuse;
  int64_t shard_tokens = kShardTokens;  // a shard is full when it has this many
  bool overwrite = false;               // replace a dataset, and nothing else, that stands at `out`

  ReadOptions reading() const { return {documents, separator, field, invalid_utf8}; }
};

// What meta.json says of where the text came from.
struct SourceName {
  std::string name;
  int64_t bytes = 0;  // 0 where it is not known
};

// Writes the folder `out`: whole, or not at all. Each document goes to train or val by the hash of
// its text, so that it stays where it is when files are added. Documents end with the tokenizer's
// eos token where it has one. The folder depends on the files, the tokenizer and the options alone.
// Throws ValueError for options out of range and text that gives no training token, FileError for
// files that cannot be read or written and for an `out` that is in the way.
void prepare(const std::vector<Path>& files, const text::Tokenizer& tokenizer, const Path& out,
             const PrepareOptions& options, Executor& executor,
             const text::ProgressFn& progress = {});

// The same for documents from anywhere; how they are read is the source's business.
void prepare(DocumentSource& source, const std::vector<SourceName>& names,
             const text::Tokenizer& tokenizer, const Path& out, const PrepareOptions& options,
             Executor& executor, const text::ProgressFn& progress = {});

// What prepare() throws before it reads anything, so that work before it need not be in vain.
void check_prepare(const Path& out, const PrepareOptions& options);

std::vector<SourceName> source_names(const std::vector<Path>& files);

// True when a document of this (uncleaned) text belongs to the validation split.
bool belongs_to_val(std::string_view text, double val_fraction);

}  // namespace msltx::data
