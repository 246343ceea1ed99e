#include "msltx/data/batches.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "msltx/data/permutation.h"
#include "text/temporary_folder.h"

namespace msltx::data {
namespace {

class BatchesTest : public TemporaryFolderTest {
 protected:
  // A split whose i-th token is i, in shards of `shard` tokens.
  TokenSplit counting(int64_t tokens, int64_t shard = 1 << 20) {
    std::vector<Shard> shards;
    for (int64_t first = 0; first < tokens; first += shard) {
      const Path path = folder_ / concat("s", shard, "-", shards.size(), ".bin");
      ShardWriter writer(path, 60000);
      std::vector<int32_t> ids;
      for (int64_t i = first; i < std::min(tokens, first + shard); ++i) {
        ids.push_back(static_cast<int32_t>(i));
      }
      writer.add_document(ids);
      writer.commit();
      shards.emplace_back(path, 60000);
    }
    return {"train", std::move(shards), 1, 0};
  }
};

struct Rows {
  std::vector<int32_t> tokens, targets;
  Rows(int64_t batch, int64_t length)
      : tokens(static_cast<size_t>(batch * length), -7),
        targets(static_cast<size_t>(batch * length), -7) {}
  bool operator==(const Rows&) const = default;
};

TEST(Permutation, IsOne) {
  for (const int64_t size : {1, 2, 3, 4, 5, 16, 17, 100, 1000, 4097}) {
    for (const uint32_t round : {0u, 1u}) {
      const Permutation permutation(size, 42, round);
      std::set<int64_t> seen;
      for (int64_t i = 0; i < size; ++i) {
        const int64_t at = permutation(i);
        ASSERT_GE(at, 0);
        ASSERT_LT(at, size);
        seen.insert(at);
      }
      EXPECT_EQ(seen.size(), static_cast<size_t>(size));
    }
  }
}

// Every element is first about as often as any other: chi-squared over 4,000 seeds, 9 degrees of
// freedom; above 40 with a chance of one in 100,000.
TEST(Permutation, IsUniform) {
  std::map<int64_t, int> first, second;
  for (uint64_t seed = 0; seed < 4000; ++seed) {
    ++first[Permutation(10, seed, 0)(0)];
    ++second[Permutation(10, 1, static_cast<uint32_t>(seed))(7)];
  }
  for (const auto& counts : {first, second}) {
    double chi = 0;
    for (const auto& [at, n] : counts) chi += (n - 400.0) * (n - 400.0) / 400.0;
    EXPECT_EQ(counts.size(), 10u);
    EXPECT_LT(chi, 40.0);
  }
}

TEST_F(BatchesTest, TargetsAreTheNextTokens) {
  const TokenSplit split = counting(1000);
  const Batches batches(split, {.batch_size = 4, .length = 16}, 1);
  EXPECT_EQ(batches.per_epoch(), 999 / 16 - 1);
  for (const int64_t step : {0, 1, 7, 1000, 123456789}) {
    Rows rows(4, 16);
    batches.fill(step, rows.tokens.data(), rows.targets.data());
    for (size_t i = 0; i < rows.tokens.size(); ++i) {
      EXPECT_EQ(rows.targets[i], rows.tokens[i] + 1);
      if (i % 16 > 0) {
        EXPECT_EQ(rows.tokens[i], rows.tokens[i - 1] + 1);
      }
    }
  }
}

TEST_F(BatchesTest, AnEpochHasEachWindowOnceAndEpochsDiffer) {
  const TokenSplit split = counting(1000);
  const Batches batches(split, {.batch_size = 1, .length = 16}, 9);
  std::vector<std::vector<int32_t>> order(2);
  for (int64_t s = 0; s < 2 * batches.per_epoch(); ++s) {
    Rows rows(1, 16);
    batches.fill(s, rows.tokens.data(), rows.targets.data());
    order[static_cast<size_t>(s / batches.per_epoch())].push_back(rows.tokens[0]);
  }
  for (const auto& epoch : order) {
    std::set<int32_t> starts(epoch.begin(), epoch.end());
    EXPECT_EQ(starts.size(), static_cast<size_t>(batches.per_epoch()));
    for (const int32_t start : starts) EXPECT_EQ((start - *starts.begin()) % 16, 0);
    EXPECT_FALSE(std::is_sorted(epoch.begin(), epoch.end()));
  }
  EXPECT_NE(order[0], order[1]);
}

TEST_F(BatchesTest, NoTokenIsLeftOutForEver) {
  const TokenSplit split = counting(47);  // 2 windows of 16 and 14 over: one window an epoch
  const Batches batches(split, {.batch_size = 1, .length = 16}, 3);
  std::set<int32_t> targets;
  for (int64_t s = 0; s < 2000; ++s) {
    Rows rows(1, 16);
    batches.fill(s, rows.tokens.data(), rows.targets.data());
    targets.insert(rows.targets.begin(), rows.targets.end());
  }
  EXPECT_EQ(targets.size(), 46u);
}

TEST_F(BatchesTest, MicroBatchesSeeWhatOneBatchSees) {
  const TokenSplit split = counting(5000);
  const Batches large(split, {.batch_size = 8, .length = 32}, 5);
  const Batches small(split, {.batch_size = 2, .length = 32}, 5);
  for (int64_t step = 0; step < 40; ++step) {
    Rows whole(8, 32), parts(8, 32), sequences(8, 32);
    large.fill(step, whole.tokens.data(), whole.targets.data());
    for (int64_t m = 0; m < 4; ++m) {
      small.fill(step * 4 + m, parts.tokens.data() + m * 64, parts.targets.data() + m * 64);
      large.fill_sequences(step * 8 + m * 2, 2, sequences.tokens.data() + m * 64,
                           sequences.targets.data() + m * 64);
    }
    EXPECT_EQ(parts, whole);
    EXPECT_EQ(sequences, whole);
  }
}

TEST_F(BatchesTest, SeedsAndStepsDecideAlone) {
  const TokenSplit split = counting(5000), shards = counting(5000, 77);
  const auto batch = [](const TokenSplit& from, uint64_t seed) {
    Rows rows(4, 64);
    Batches(from, {.batch_size = 4, .length = 64}, seed)
        .fill(17, rows.tokens.data(), rows.targets.data());
    return rows;
  };
  EXPECT_EQ(batch(split, 1), batch(split, 1));
  EXPECT_EQ(batch(split, 1), batch(shards, 1));  // windows go on over the ends of shards
  EXPECT_FALSE(batch(split, 1) == batch(split, 2));
}

TEST_F(BatchesTest, ShortTextIsPaddedAndIgnored) {
  const TokenSplit split = counting(4);
  const Batches batches(split, {.batch_size = 2, .length = 6, .pad_id = 9}, 1);
  Rows rows(2, 6);
  batches.fill(3, rows.tokens.data(), rows.targets.data());
  const std::vector<int32_t> tokens{0, 1, 2, 9, 9, 9, 0, 1, 2, 9, 9, 9};
  const std::vector<int32_t> targets{1, 2, 3, -1, -1, -1, 1, 2, 3, -1, -1, -1};
  EXPECT_EQ(rows.tokens, tokens);
  EXPECT_EQ(rows.targets, targets);
}

TEST_F(BatchesTest, EvaluationCoversTheSplitOnce) {
  for (const int64_t tokens : {2, 5, 6, 7, 13, 25, 26, 60}) {
    const TokenSplit split = counting(tokens);
    const EvalBatches batches(split, {.batch_size = 2, .length = 6});
    std::vector<int32_t> seen;
    int64_t counted = 0;
    for (int64_t b = 0; b < batches.batches(); ++b) {
      Rows rows(2, 6);
      counted += batches.fill(b, rows.tokens.data(), rows.targets.data());
      for (size_t i = 0; i < 12; ++i) {
        if (rows.targets[i] == kIgnore) continue;
        EXPECT_EQ(rows.targets[i], rows.tokens[i] + 1);
        seen.push_back(rows.targets[i]);
      }
    }
    ASSERT_EQ(static_cast<int64_t>(seen.size()), tokens - 1);
    EXPECT_EQ(counted, tokens - 1);
    for (int64_t i = 0; i < tokens - 1; ++i) EXPECT_EQ(seen[static_cast<size_t>(i)], i + 1);
    EXPECT_THROW(batches.fill(batches.batches(), nullptr, nullptr), ValueError);
  }
}

TEST_F(BatchesTest, Refusals) {
  const TokenSplit split = counting(100), one = counting(1, 2);
  EXPECT_THROW(Batches(split, {.batch_size = 0, .length = 4}, 1), ValueError);
  EXPECT_THROW(Batches(split, {.batch_size = 4, .length = -1}, 1), ValueError);
  EXPECT_EQ(message_of<ValueError>([&] { Batches(one, {}, 1); }),
            "the train split has 1 tokens; a batch takes at least 2");
  EXPECT_THROW(EvalBatches(TokenSplit(), {}), ValueError);
  const Batches batches(split, {.batch_size = 4, .length = 4}, 1);
  EXPECT_THROW(batches.fill(-1, nullptr, nullptr), ValueError);
  EXPECT_THROW(batches.fill(INT64_MAX, nullptr, nullptr), ValueError);
  EXPECT_THROW(batches.fill_sequences(-1, 1, nullptr, nullptr), ValueError);
}

}  // namespace
}  // namespace msltx::data
