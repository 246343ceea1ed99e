#include "msltx/text/word_counter.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "msltx/base/error.h"
#include "msltx/text/split.h"
#include "msltx/text/text_blocks.h"

namespace msltx::text {
namespace {

// Blocks of text per worker that are read ahead while as many are counted.
constexpr size_t kBlocksPerWorker = 2;

}  // namespace

WordCounter::WordCounter(const Cleaning& cleaning, Executor& executor)
    : cleaning_(cleaning), executor_(executor) {}

PieceCounts& WordCounter::table_of(int worker) { return tables_[static_cast<size_t>(worker)]; }

void WordCounter::make_tables() {
  tables_.resize(std::max(tables_.size(), static_cast<size_t>(executor_.threads())));
}

void WordCounter::count_whole(std::string_view text, PieceCounts& counts) {
  const char* const end = text.data() + text.size();
  for_each_piece<Gpt2Split>(text, [&](std::string_view piece) {
    counts.add(piece, static_cast<size_t>(end - piece.data()));
  });
}

void WordCounter::count_lines(std::string_view block, PieceCounts& counts) {
  const char* p = block.data();
  const char* const end = p + block.size();
  while (p < end) {
    const void* feed = std::memchr(p, '\n', static_cast<size_t>(end - p));
    const char* const line_end = feed ? static_cast<const char*>(feed) + 1 : end;
    for (const char* q = p; q < line_end;) {
      const char* const piece_end = Gpt2Split::next(q, line_end);
      counts.add({q, static_cast<size_t>(piece_end - q)}, static_cast<size_t>(end - q));
      q = piece_end;
    }
    p = line_end;
  }
}

void WordCounter::add_texts(std::span<const std::string_view> texts) {
  for (const std::string_view text : texts) {
    const size_t bad = find_invalid_utf8(text);
    if (bad != kValid) throw ValueError(concat("a text has ", describe_invalid_utf8(text, bad)));
  }
  // Several texts a task, so that short ones cost no more than long ones.
  constexpr size_t kTaskBytes = 1 << 16;
  std::vector<size_t> first_of_task{0};
  size_t bytes = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    bytes += texts[i].size();
    if (bytes >= kTaskBytes || i + 1 == texts.size()) {
      first_of_task.push_back(i + 1);
      bytes = 0;
    }
  }
  const auto count_task = [&](int64_t task, int worker) {
    executor_.check_cancelled();
    const auto k = static_cast<size_t>(task);
    for (size_t i = first_of_task[k]; i < first_of_task[k + 1]; ++i) {
      if (cleaning_.any()) {
        count_whole(clean(texts[i], cleaning_), table_of(worker));
      } else {
        count_whole(texts[i], table_of(worker));
      }
    }
  };
  // One job, so that the number of workers cannot change under way.
  executor_.run([&] {
    make_tables();
    executor_.parallel_for(static_cast<int64_t>(first_of_task.size()) - 1, count_task);
  });
}

void WordCounter::add_file(const Path& path, InvalidUtf8 invalid, const ProgressFn& progress) {
  executor_.run([&] {
    make_tables();
    count_file(path, invalid, progress);
  });
}

void WordCounter::count_file(const Path& path, InvalidUtf8 invalid, const ProgressFn& progress) {
  TextBlocks source(path, invalid);
  const size_t batch = kBlocksPerWorker * tables_.size();
  std::vector<std::string> current(batch), ahead(batch);
  const auto read_ahead = [&] {
    size_t n = 0;
    while (n < batch && source.next(ahead[n])) ++n;
    return n;
  };
  size_t next_have = read_ahead();
  while (next_have > 0) {
    std::swap(current, ahead);
    const size_t have = std::exchange(next_have, 0);
    // Task 0 reads the next blocks while the others count these.
    executor_.parallel_for(static_cast<int64_t>(have) + 1, [&](int64_t task, int worker) {
      executor_.check_cancelled();
      if (task == 0) {
        next_have = read_ahead();
        return;
      }
      const std::string& block = current[static_cast<size_t>(task) - 1];
      if (cleaning_.any()) {
        count_lines(clean(block, cleaning_), table_of(worker));
      } else {
        count_lines(block, table_of(worker));
      }
    });
    if (progress) progress({"read", source.bytes_read(), source.bytes_total()});
  }
}

PieceCounts WordCounter::take() {
  PieceCounts all;
  for (PieceCounts& table : tables_) all.absorb(table);
  return all;
}

}  // namespace msltx::text
