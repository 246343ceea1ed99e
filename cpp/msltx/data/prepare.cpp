#include "msltx/data/prepare.h"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "msltx/base/error.h"
#include "msltx/data/dataset.h"
#include "msltx/data/dataset_writer.h"
#include "msltx/text/piece_table.h"

namespace msltx::data {
namespace {

using json = nlohmann::ordered_json;

constexpr size_t kTaskBytes = 1 << 17;  // of text per task: some milliseconds
constexpr size_t kTasksPerWorker = 8;   // per batch of documents

// What a task makes of its documents.
struct Encoded {
  struct Place {
    bool val;
    size_t ids;     // how many
    int64_t bytes;  // of original text
  };
  std::vector<int32_t> ids;
  std::vector<Place> documents;
};

json cleaning_json(const text::Cleaning& cleaning) {
  json steps = json::array();
  for (const text::CleaningStep& step : text::steps_of(cleaning)) {
    if (step.name == "normalize_unicode") {
      steps.push_back({{"step", step.name},
                       {"form", text::name_of(cleaning.form)},
                       {"unicode", text::normal_form_version()}});
    } else {
      steps.push_back({{"step", step.name}});
    }
  }
  return steps;
}

class Preparation {
 public:
  Preparation(DocumentSource& source, const std::vector<SourceName>& names,
              const text::Tokenizer& tokenizer, const PrepareOptions& options, Executor& executor,
              const text::ProgressFn& progress)
      : source_(source),
        names_(names),
        tokenizer_(tokenizer),
        options_(options),
        executor_(executor),
        progress_(progress) {}

  void write(const Path& folder) {
    SplitWriter train(folder, kSplitNames[0], tokenizer_.vocab_size(), options_.shard_tokens);
    SplitWriter val(folder, kSplitNames[1], tokenizer_.vocab_size(), options_.shard_tokens);
    std::vector<std::vector<Document>> current, ahead;
    std::vector<Encoded> encoded, written;
    read_batch(ahead);
    while (!ahead.empty() || !encoded.empty()) {
      std::swap(current, ahead);
      std::swap(written, encoded);
      ahead.clear();
      encoded.clear();
      encoded.resize(current.size());
      // While these documents are encoded, the next ones are read and those before are written.
      executor_.parallel_for(static_cast<int64_t>(current.size()) + 3, [&](int64_t task, int) {
        executor_.check_cancelled();
        if (task == 0) return read_batch(ahead);
        if (task <= 2) return append(written, task == 2, task == 2 ? val : train);
        const auto k = static_cast<size_t>(task) - 3;
        for (const Document& document : current[k]) encode(document, encoded[k]);
      });
      if (progress_) progress_({"encode", source_.bytes_read(), source_.bytes_total()});
      executor_.check_cancelled();
    }
    if (train.tokens() == 0) {
      if (val.tokens() == 0) throw ValueError("there is no text to prepare");
      const std::string all = val.documents() == 1 ? "the only document"
                                                   : concat("all ", val.documents(), " documents");
      throw ValueError(concat("val_fraction is ", options_.val_fraction, ", by which ", all,
                              " fell into the validation split; 0 holds none out"));
    }
    tokenizer_.save(folder / kTokenizerName);
    write_meta(folder, train, val);
  }

 private:
  void read_batch(std::vector<std::vector<Document>>& tasks) {
    if (at_end_) return;
    const size_t most = kTasksPerWorker * static_cast<size_t>(executor_.threads());
    size_t bytes = kTaskBytes;
    for (Document document; tasks.size() < most || bytes < kTaskBytes;) {
      if (!source_.next(document)) {
        at_end_ = true;
        break;
      }
      if (bytes >= kTaskBytes) {
        tasks.emplace_back();
        bytes = 0;
      }
      bytes += document.text.size();
      tasks.back().push_back(std::move(document));
    }
  }

  void encode(const Document& document, Encoded& out) const {
    const size_t before = out.ids.size();
    if (options_.cleaning.any()) {
      tokenizer_.encode(text::clean(document.text, options_.cleaning), out.ids);
    } else {
      tokenizer_.encode(document.text, out.ids);
    }
    if (document.ends && tokenizer_.roles().eos) out.ids.push_back(*tokenizer_.roles().eos);
    out.documents.push_back({.val = belongs_to_val(document.text, options_.val_fraction),
                             .ids = out.ids.size() - before,
                             .bytes = static_cast<int64_t>(document.text.size())});
  }

  static void append(const std::vector<Encoded>& parts, bool val, SplitWriter& writer) {
    for (const Encoded& part : parts) {
      std::span<const int32_t> ids(part.ids);
      for (const Encoded::Place& document : part.documents) {
        if (document.val == val) writer.add_document(ids.first(document.ids), document.bytes);
        ids = ids.subspan(document.ids);
      }
    }
  }

  void write_meta(const Path& folder, SplitWriter& train, SplitWriter& val) const {
    json sources = json::array();
    for (const SourceName& source : names_) {
      sources.push_back({{"name", source.name}, {"bytes", source.bytes}});
    }
    json meta = meta_of_tokenizer(tokenizer_);
    meta["documents"] = name_of(options_.documents);
    if (options_.documents == Separator::text) meta["separator"] = options_.separator;
    meta["field"] = options_.field;
    meta["cleaning"] = cleaning_json(options_.cleaning);
    const text::InvalidCounts counts = source_.counts();
    meta["invalid_utf8"] = {{"rule", text::name_of(options_.invalid_utf8)},
                            {"replaced", counts.replaced},
                            {"skipped", counts.skipped}};
    meta["val_fraction"] = options_.val_fraction;
    meta["split_by"] = "text";
    meta["sources"] = std::move(sources);
    meta["splits"] = {{kSplitNames[0], train.finish()}, {kSplitNames[1], val.finish()}};
    write_file(folder / kMetaName, meta.dump(2, ' ', false, json::error_handler_t::replace) + '\n');
  }

  DocumentSource& source_;
  const std::vector<SourceName>& names_;
  const text::Tokenizer& tokenizer_;
  const PrepareOptions& options_;
  Executor& executor_;
  const text::ProgressFn& progress_;
  bool at_end_ = false;
};

}  // namespace

bool belongs_to_val(std::string_view text, double val_fraction) {
  return share_of_hash(text::hash_bytes(text)) < val_fraction;
}

void check_prepare(const Path& out, const PrepareOptions& options) {
  check_share(options.val_fraction, options.shard_tokens);
  check(options.reading());
  check_place(out, options.overwrite);
}

std::vector<SourceName> source_names(const std::vector<Path>& files) {
  std::vector<SourceName> names;
  for (const Path& file : files) {
    names.push_back(
        {text::replace_invalid_utf8(file.filename().string()), text::size_on_disk(file)});
  }
  return names;
}

void prepare(const std::vector<Path>& files, const text::Tokenizer& tokenizer, const Path& out,
             const PrepareOptions& options, Executor& executor, const text::ProgressFn& progress) {
  check_prepare(out, options);
  if (files.empty()) throw ValueError("there are no files to prepare");
  DocumentReader reader(files, options.reading());
  prepare(reader, source_names(files), tokenizer, out, options, executor, progress);
}

void prepare(DocumentSource& source, const std::vector<SourceName>& names,
             const text::Tokenizer& tokenizer, const Path& out, const PrepareOptions& options,
             Executor& executor, const text::ProgressFn& progress) {
  check_prepare(out, options);
  const Path place = check_place(out, options.overwrite);
  remove_abandoned(place);
  AtomicFolder folder(place, Existing::replace);
  executor.run([&] {
    Preparation(source, names, tokenizer, options, executor, progress).write(folder.path());
  });
  check_place(out, options.overwrite);  // much may have happened there meanwhile
  folder.commit();
}

}  // namespace msltx::data
