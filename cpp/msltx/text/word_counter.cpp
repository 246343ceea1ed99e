#include "msltx/text/word_counter.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "msltx/base/error.h"
#include "msltx/base/philox.h"
#include "msltx/text/split.h"
#include "msltx/text/text_blocks.h"

namespace msltx::text {
namespace {

// Blocks of text per worker that are read ahead while as many are counted.
constexpr size_t kBlocksPerWorker = 2;

// fn(Split()) for the splitter that is asked for.
template <class Fn>
void with_splitter(const WordCounter::Split& split, Fn&& fn) {
  if (const auto* pattern = std::get_if<SplitPattern>(&split)) {
    with_split(*pattern, fn);
  } else {
    fn(SpaceSplit());
  }
}

}  // namespace

WordCounter::WordCounter(const Cleaning& cleaning, Executor& executor, Split split,
                         TextSample sample)
    : cleaning_(cleaning), executor_(executor), split_(split), sample_(sample) {
  if (!(sample.share > 0 && sample.share <= 1)) {
    throw ValueError(
        concat("the share of a sample is ", sample.share, "; it takes a number above 0, up to 1"));
  }
}

PieceCounts& WordCounter::table_of(int worker) { return tables_[static_cast<size_t>(worker)]; }

void WordCounter::make_tables() {
  tables_.resize(std::max(tables_.size(), static_cast<size_t>(executor_.threads())));
}

bool WordCounter::is_drawn(uint32_t number, uint32_t line) const {
  if (sample_.share >= 1) return true;
  const Philox4 words = philox(sample_.seed, RandomStream::subsets, sources_, number, line);
  return uniform_double(words[0], words[1]) < sample_.share;
}

void WordCounter::count(std::string_view text, bool by_line, uint32_t number,
                        PieceCounts& counts) const {
  const char* const end = text.data() + text.size();
  const auto for_each_drawn_line = [&](auto&& fn) {
    const char* p = text.data();
    for (uint32_t line = 0; p < end; ++line) {
      const void* const feed =
          by_line ? std::memchr(p, '\n', static_cast<size_t>(end - p)) : nullptr;
      const char* const line_end = feed ? static_cast<const char*>(feed) + 1 : end;
      if (is_drawn(number, line)) fn(p, line_end);
      p = line_end;
    }
  };
  if (const auto* cut = std::get_if<Cut>(&split_)) {
    for_each_drawn_line([&](const char* p, const char* line_end) {
      (*cut)({p, static_cast<size_t>(line_end - p)}, counts);
    });
    return;
  }
  with_splitter(split_, [&]<class Splitter>(Splitter) {
    for_each_drawn_line([&](const char* p, const char* line_end) {
      while (p < line_end) {
        const char* const piece_end = Splitter::next(p, line_end);
        counts.add({p, static_cast<size_t>(piece_end - p)}, static_cast<size_t>(end - p));
        p = piece_end;
      }
    });
  });
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
      const auto number = static_cast<uint32_t>(i);
      if (cleaning_.any()) {
        count(clean(texts[i], cleaning_), false, number, table_of(worker));
      } else {
        count(texts[i], false, number, table_of(worker));
      }
    }
  };
  // One job, so that the number of workers cannot change under way.
  executor_.run([&] {
    make_tables();
    executor_.parallel_for(static_cast<int64_t>(first_of_task.size()) - 1, count_task);
  });
  ++sources_;
}

void WordCounter::add_file(const Path& path, InvalidUtf8 invalid, const ProgressFn& progress) {
  executor_.run([&] {
    make_tables();
    count_file(path, invalid, progress);
  });
  ++sources_;
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
  int64_t blocks = 0;  // counted
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
      const auto number = static_cast<uint32_t>(blocks + task - 1);
      if (cleaning_.any()) {
        count(clean(block, cleaning_), true, number, table_of(worker));
      } else {
        count(block, true, number, table_of(worker));
      }
    });
    blocks += static_cast<int64_t>(have);
    if (progress) progress({"read", source.bytes_read(), source.bytes_total()});
  }
}

PieceCounts WordCounter::take() {
  PieceCounts all;
  for (PieceCounts& table : tables_) all.absorb(table);
  return all;
}

}  // namespace msltx::text
