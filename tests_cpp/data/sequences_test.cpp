#include "msltx/data/sequences.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "msltx/data/bucketed.h"
#include "text/temporary_folder.h"

namespace msltx::data {
namespace {

constexpr int32_t kPad = 9;

class SequencesTest : public TemporaryFolderTest {
 protected:
  // Documents of these lengths: token t of document d is 100 * (d + 1) + t. Two shards.
  TokenSplit split_of(const std::vector<int>& lengths, const char* name = "s") {
    std::vector<Shard> shards;
    for (const bool second : {false, true}) {
      const Path path = folder_ / concat(name, second, ".bin");
      ShardWriter writer(path, 60000);
      for (size_t d = second ? lengths.size() / 2 : 0;
           d < (second ? lengths.size() : lengths.size() / 2); ++d) {
        std::vector<int32_t> ids;
        for (int t = 0; t < lengths[d]; ++t) ids.push_back(100 * (static_cast<int>(d) + 1) + t);
        writer.add_document(ids);
      }
      writer.commit();
      shards.emplace_back(path, 60000);
    }
    return {"train", std::move(shards), static_cast<int64_t>(lengths.size()), 0};
  }
};

struct Filled {
  std::vector<int32_t> tokens, targets, documents;
  Filled(const Sequences& sequences, int64_t number, size_t length, bool inside = false)
      : tokens(length, -7), targets(length, -7), documents(inside ? length : 0, -7) {
    sequences.fill(number, {tokens, targets, documents});
  }
  bool operator==(const Filled&) const = default;
};

int document_of(int32_t token) { return token / 100 - 1; }

TEST_F(SequencesTest, DocumentsByNumberAndPlace) {
  const std::vector<int> lengths{3, 0, 5, 1, 1, 0, 0, 7};
  const TokenSplit split = split_of(lengths);
  const Documents documents(split);
  ASSERT_EQ(documents.size(), 8);
  int64_t begin = 0;
  for (int64_t d = 0; d < 8; ++d) {
    EXPECT_EQ(documents[d].begin, begin);
    for (int64_t t = 0; t < documents[d].length(); ++t) {
      EXPECT_EQ(documents.containing(begin + t), d) << begin + t;
    }
    begin += lengths[static_cast<size_t>(d)];
    EXPECT_EQ(documents[d].end, begin);
  }
}

// An epoch's packed rows joined are the documents whole, each once but for the end, in an order
// that differs from epoch to epoch.
TEST_F(SequencesTest, PackedRowsAreTheDocumentsOneAfterTheOther) {
  std::vector<int> lengths;
  for (int d = 0; d < 150; ++d) lengths.push_back(d * 7 % 23);
  const TokenSplit split = split_of(lengths);
  constexpr size_t kLength = 16;
  const auto sequences = make_sequences(split, RowMode::packed, {kLength, kPad}, 5, true);
  EXPECT_EQ(sequences->per_epoch(), (split.tokens() - 1) / 16);
  std::vector<std::vector<int32_t>> epochs(2);
  for (size_t e = 0; e < 2; ++e) {
    for (int64_t k = 0; k < sequences->per_epoch(); ++k) {
      const int64_t number = static_cast<int64_t>(e) * sequences->per_epoch() + k;
      const Filled row(*sequences, number, kLength), marked(*sequences, number, kLength, true);
      EXPECT_TRUE(std::equal(row.tokens.begin() + 1, row.tokens.end(), row.targets.begin()));
      if (!epochs[e].empty()) {
        EXPECT_EQ(epochs[e].back(), row.tokens[0]);
        epochs[e].pop_back();
      }
      epochs[e].insert(epochs[e].end(), row.tokens.begin(), row.tokens.end());
      epochs[e].push_back(row.targets.back());
      EXPECT_EQ(marked.tokens, row.tokens);
      for (size_t t = 0; t < kLength; ++t) {
        const bool same = document_of(row.tokens[t]) == document_of(row.targets[t]);
        EXPECT_EQ(marked.targets[t], same ? row.targets[t] : kIgnore);
        const bool first = t == 0;
        EXPECT_EQ(marked.documents[t],
                  first ? 0
                        : marked.documents[t - 1] +
                              (document_of(row.tokens[t]) != document_of(row.tokens[t - 1])));
      }
    }
    std::set<int> seen;
    for (size_t i = 0; i < epochs[e].size();) {
      const int document = document_of(epochs[e][i]);
      EXPECT_TRUE(seen.insert(document).second);
      int t = 0;
      for (; i < epochs[e].size() && document_of(epochs[e][i]) == document; ++i, ++t) {
        EXPECT_EQ(epochs[e][i], 100 * (document + 1) + t);
      }
      if (i < epochs[e].size()) {
        EXPECT_EQ(t, lengths[static_cast<size_t>(document)]);
      }
    }
  }
  EXPECT_NE(epochs[0], epochs[1]);
  // Any row at once, whatever was asked for before.
  const auto fresh = make_sequences(split, RowMode::packed, {kLength, kPad}, 5, true);
  EXPECT_EQ(Filled(*fresh, 2 * fresh->per_epoch() - 1, kLength),
            Filled(*sequences, 2 * sequences->per_epoch() - 1, kLength));
}

TEST_F(SequencesTest, PackedShortTextIsPadded) {
  const TokenSplit split = split_of({2, 1});
  const auto sequences = make_sequences(split, RowMode::packed, {6, kPad}, 1, true);
  const Filled row(*sequences, 0, 6, true);
  EXPECT_EQ(std::count(row.tokens.begin(), row.tokens.end(), kPad), 4);
  EXPECT_EQ(std::vector<int32_t>(row.targets.begin() + 2, row.targets.end()),
            (std::vector<int32_t>(4, kIgnore)));
}

TEST_F(SequencesTest, WindowsKnowTheirDocuments) {
  const TokenSplit split = split_of({5, 0, 9, 1, 30, 2, 13, 40});
  const auto plain = make_sequences(split, RowMode::windows, {8, kPad}, 3, false);
  const auto sequences = make_sequences(split, RowMode::windows, {8, kPad}, 3, true);
  for (int64_t number = 0; number < 40; ++number) {
    const Filled row(*plain, number, 8), marked(*sequences, number, 8, true);
    EXPECT_EQ(marked.tokens, row.tokens);
    int32_t document = 0;
    for (size_t t = 0; t < 8; ++t) {
      if (t > 0 && document_of(row.tokens[t]) != document_of(row.tokens[t - 1])) ++document;
      EXPECT_EQ(marked.documents[t], document);
      const bool same = document_of(row.tokens[t]) == document_of(row.targets[t]);
      EXPECT_EQ(marked.targets[t], same ? row.targets[t] : kIgnore) << number << " " << t;
    }
  }
}

TEST_F(SequencesTest, PaddedRowsAreOneDocumentEach) {
  const std::vector<int> lengths{5, 1, 9, 7, 30, 6};
  const TokenSplit split = split_of(lengths);
  const auto sequences = make_sequences(split, RowMode::padded, {6, kPad}, 3, true);
  ASSERT_EQ(sequences->per_epoch(), 6);
  std::set<int> seen;
  for (int64_t number = 0; number < 6; ++number) {
    const Filled row(*sequences, number, 6, true);
    const auto targets = std::count_if(row.targets.begin(), row.targets.end(),
                                       [](int32_t id) { return id != kIgnore; });
    if (targets == 0) {  // the document of one token
      EXPECT_EQ(row.tokens, std::vector<int32_t>(6, kPad));
      continue;
    }
    const int document = document_of(row.tokens[0]);
    EXPECT_TRUE(seen.insert(document).second);
    EXPECT_EQ(targets, std::min(6, lengths[static_cast<size_t>(document)] - 1));
    for (size_t t = 0; t < 6; ++t) {
      const bool there = static_cast<int>(t) < targets;
      const int32_t token = 100 * (document + 1) + static_cast<int32_t>(t);
      EXPECT_EQ(row.tokens[t], there ? token : kPad);
      EXPECT_EQ(row.targets[t], there ? token + 1 : kIgnore);
      EXPECT_EQ(row.documents[t], there ? 0 : 1);
    }
  }
  EXPECT_EQ(seen.size(), 5u);
}

class Counting : public Sequences {
 public:
  explicit Counting(int32_t id) : id_(id) {}
  int64_t per_epoch() const override { return 10; }
  void fill(int64_t number, const Row& row) const override {
    row.tokens[0] = id_;
    row.targets[0] = static_cast<int32_t>(number);
  }

 private:
  int32_t id_;
};

TEST(MixedSequences, EveryPrefixHasItsShares) {
  const std::vector<std::vector<double>> cases{{1},       {1, 1},       {0.7, 0.2, 0.1},
                                               {3, 1e-6}, {1, 2, 3, 4}, {1e-9, 1}};
  for (const std::vector<double>& weights : cases) {
    std::vector<std::shared_ptr<const Sequences>> sources;
    double sum = 0;
    for (const double weight : weights) {
      sum += weight;
      sources.push_back(std::make_shared<Counting>(static_cast<int32_t>(sources.size())));
    }
    const MixedSequences mixed(sources, weights);
    std::vector<int64_t> counts(weights.size());
    for (int64_t n = 0; n < 3000; ++n) {
      int32_t token = 0, target = 0;
      mixed.fill(n, {{&token, 1}, {&target, 1}, {}});
      // A source's rows come in order, none is left out.
      ASSERT_EQ(target, counts[static_cast<size_t>(token)]++);
      for (size_t i = 0; i < weights.size(); ++i) {
        const double share = weights[i] / sum * static_cast<double>(n + 1);
        ASSERT_LE(std::abs(static_cast<double>(counts[i]) - share),
                  static_cast<double>(weights.size()));
      }
    }
  }
  // Far out: a run of 2^61 rows.
  const MixedSequences two({std::make_shared<Counting>(0), std::make_shared<Counting>(1)}, {1, 3});
  const int64_t far = int64_t{1} << 61;
  int64_t first = 0;
  for (int64_t n = far; n < far + 400; ++n) first += two.place(n).source == 0;
  EXPECT_EQ(first, 100);
  EXPECT_NEAR(static_cast<double>(two.place(far).number),
              static_cast<double>(far) * (two.place(far).source == 0 ? 0.25 : 0.75), 1e4);
}

TEST(MixedSequences, Refusals) {
  const auto one = std::make_shared<Counting>(0);
  EXPECT_EQ(message_of<ValueError>([&] { MixedSequences({one, one}, {1}); }),
            "there are 1 weights for 2 datasets; each takes one");
  EXPECT_EQ(message_of<ValueError>([&] { MixedSequences({one, one}, {1, 0}); }),
            "a weight is 0; it takes a number above 0");
  EXPECT_THROW(MixedSequences({}, {}), ValueError);
}

TEST_F(SequencesTest, BucketsHoldEachDocumentOnceAnEpoch) {
  std::vector<int> lengths;
  for (int d = 0; d < 90; ++d) lengths.push_back(d * 13 % 41);
  const TokenSplit split = split_of(lengths);
  const BucketedBatches batches(split, {.batch_size = 4, .length = 32, .pad_id = kPad}, 8, 7);
  const PaddingReport report = batches.report();
  int64_t places = 0, targets_seen = 0;
  std::vector<std::vector<int>> orders(2);
  for (int64_t step = 0; step < 2 * batches.per_epoch(); ++step) {
    const int64_t length = batches.length(step);
    EXPECT_EQ(length % 8, 0);
    std::vector<int32_t> tokens(static_cast<size_t>(4 * length)), targets(tokens.size());
    batches.fill(step, tokens.data(), targets.data());
    for (size_t row = 0; row < 4; ++row) {
      const size_t begin = row * static_cast<size_t>(length);
      int64_t n = 0;
      while (n < length && targets[begin + static_cast<size_t>(n)] != kIgnore) ++n;
      if (n == 0) continue;  // a row that the bucket lacks
      const int document = document_of(tokens[begin]);
      orders[static_cast<size_t>(step / batches.per_epoch())].push_back(document);
      EXPECT_EQ(n, std::min(32, lengths[static_cast<size_t>(document)] - 1));
      EXPECT_GT(n, length - 8);  // of like length
      for (int64_t t = 0; t < length; ++t) {
        const size_t i = begin + static_cast<size_t>(t);
        const int32_t token = 100 * (document + 1) + static_cast<int32_t>(t);
        EXPECT_EQ(tokens[i], t < n ? token : kPad);
        EXPECT_EQ(targets[i], t < n ? token + 1 : kIgnore);
      }
      if (step < batches.per_epoch()) targets_seen += n;
    }
    if (step < batches.per_epoch()) places += 4 * length;
  }
  EXPECT_NE(orders[0], orders[1]);
  const auto whole =
      std::count_if(lengths.begin(), lengths.end(), [](int length) { return length > 1; });
  for (auto& order : orders) {
    EXPECT_EQ(static_cast<int64_t>(order.size()), whole);
    EXPECT_EQ(static_cast<int64_t>(std::set<int>(order.begin(), order.end()).size()), whole);
  }
  EXPECT_EQ(report.places, places);
  EXPECT_EQ(report.targets, targets_seen);
  EXPECT_EQ(report.left_out + whole, 90);
  EXPECT_LT(report.places, report.places_unsorted);
  EXPECT_EQ(report.truncated,
            std::count_if(lengths.begin(), lengths.end(), [](int length) { return length > 33; }));
}

TEST_F(SequencesTest, Refusals) {
  const TokenSplit split = split_of({5, 6}), ones = split_of({1, 1, 0}, "ones");
  EXPECT_THROW(row_mode_from_name("bucketed"), ValueError);
  EXPECT_THROW(make_sequences(split, RowMode::packed, {0, kPad}, 1, false), ValueError);
  EXPECT_THROW(make_sequences(TokenSplit(), RowMode::padded, {4, kPad}, 1, false), ValueError);
  EXPECT_THROW(BucketedBatches(split, {.batch_size = 2, .length = 4}, 5, 1), ValueError);
  EXPECT_THROW(BucketedBatches(split, {.batch_size = 0, .length = 4}, 1, 1), ValueError);
  EXPECT_THROW(BucketedBatches(ones, {.batch_size = 2, .length = 4}, 2, 1), ValueError);
  const BucketedBatches batches(split, {.batch_size = 2, .length = 4}, 2, 1);
  EXPECT_THROW(batches.fill(-1, nullptr, nullptr), ValueError);
}

}  // namespace
}  // namespace msltx::data
