#include "msltx/data/prepare.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "msltx/data/batches.h"
#include "msltx/data/dataset.h"
#include "msltx/data/resplit.h"
#include "text/temporary_folder.h"

namespace msltx::data {
namespace {

using nlohmann::json;

std::string corpus(int documents, int first = 0) {
  std::string text;
  for (int i = first; i < first + documents; ++i) {
    text += concat("Document ", i, " begins  here,\nwith number ", i * i, ".\n\n");
  }
  return text;
}

class PrepareTest : public TemporaryFolderTest {
 protected:
  void SetUp() override {
    TemporaryFolderTest::SetUp();
    const Path path = file("train.txt", corpus(50));
    tokenizer_.emplace(text::Tokenizer::train(std::span(&path, 1), {.vocab_size = 300}, executor_));
    std::filesystem::remove(path);
  }
  Dataset prepared(const std::string& text, PrepareOptions options = {}, const char* name = "out") {
    options.overwrite = true;
    prepare({file("a.txt", text)}, *tokenizer_, folder_ / name, options, executor_);
    return Dataset(folder_ / name);
  }
  // The documents of a split as text, [EOS] and all.
  std::vector<std::string> documents(const TokenSplit& split) {
    std::vector<std::string> texts;
    for (const Shard& shard : split.shards()) {
      const DocumentIndex index = shard.index();
      for (int64_t i = 0; i < index.documents(); ++i) {
        std::vector<int32_t> ids(static_cast<size_t>(index.begin(i + 1) - index.begin(i)));
        shard.read(index.begin(i), ids);
        texts.push_back(tokenizer_->decode(ids));
      }
    }
    return texts;
  }

  Executor executor_{2};
  std::optional<text::Tokenizer> tokenizer_;
};

TEST_F(PrepareTest, DocumentsLandWholeInOneSplitEach) {
  const Dataset dataset = prepared(corpus(500));
  dataset.verify();
  std::multiset<std::string> expected, got;
  int64_t bytes = 0;
  for (int i = 0; i < 500; ++i) {
    const std::string text = corpus(1, i);
    expected.insert(text.substr(0, text.size() - 2) + "[EOS]");
    bytes += static_cast<int64_t>(text.size()) - 2;
  }
  for (const TokenSplit* split : {&dataset.train(), &dataset.val()}) {
    for (const std::string& text : documents(*split)) {
      got.insert(text);
      EXPECT_EQ(belongs_to_val(text.substr(0, text.size() - 5), 0.1), split == &dataset.val());
    }
  }
  EXPECT_EQ(got, expected);
  EXPECT_EQ(dataset.train().documents() + dataset.val().documents(), 500);
  EXPECT_EQ(dataset.train().bytes() + dataset.val().bytes(), bytes);
  EXPECT_NEAR(static_cast<double>(dataset.val().documents()), 50, 30);
  EXPECT_EQ(dataset.vocab_size(), tokenizer_->vocab_size());
  EXPECT_EQ(dataset.eos_id(), 3);
  EXPECT_EQ(text::Tokenizer::load(dataset.path()).to_json(), tokenizer_->to_json());
}

TEST_F(PrepareTest, AddingFilesMovesNoDocument) {
  const Dataset one = prepared(corpus(300));
  prepare({file("b.txt", corpus(200, 300)), folder_ / "a.txt"}, *tokenizer_, folder_ / "two", {},
          executor_);
  const Dataset two(folder_ / "two");
  for (const char* name : {"train", "val"}) {
    const auto before = documents(one.split(name)), after = documents(two.split(name));
    EXPECT_GT(after.size(), before.size());
    const std::multiset<std::string> all(after.begin(), after.end());
    for (const std::string& text : before) EXPECT_TRUE(all.contains(text));
  }
}

TEST_F(PrepareTest, TheSameFilesAtAnyNumberOfThreads) {
  std::map<std::string, std::string> first;
  for (const int threads : {1, 2, 3, 8}) {
    Executor executor(threads);
    const Path out = folder_ / concat("t", threads);
    prepare({file("a.txt", corpus(9000))}, *tokenizer_, out, {}, executor);
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(out)) {
      files[entry.path().filename()] = read_file(entry.path());
    }
    EXPECT_EQ(files.size(), 6u);
    if (threads == 1) first = files;
    EXPECT_TRUE(files == first) << threads;
  }
}

TEST_F(PrepareTest, ShardsHaveTheirSize) {
  const Dataset dataset = prepared(corpus(400), {.shard_tokens = 1000});
  EXPECT_GT(dataset.train().shards().size(), 3u);
  for (const Shard& shard : dataset.train().shards()) EXPECT_LT(shard.tokens(), 1100);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "out" / "train-00001.bin"));
  const Dataset whole = prepared(corpus(400), {}, "whole");
  EXPECT_EQ(documents(dataset.train()), documents(whole.train()));
}

TEST_F(PrepareTest, CleaningAndSeparators) {
  const PrepareOptions clean{.val_fraction = 0,
                             .documents = Separator::line,
                             .cleaning = {.lowercase = true, .whitespace = true}};
  const Dataset dataset = prepared("  A  b\t\r\nC\n", clean);
  EXPECT_EQ(documents(dataset.train()), (std::vector<std::string>{"a b[EOS]", "c[EOS]"}));
  EXPECT_EQ(dataset.train().bytes(), 7 + 1);  // of the original: "  A  b\t" and "C"
  EXPECT_EQ(dataset.val().tokens(), 0);
  const json meta = json::parse(dataset.meta_json());
  EXPECT_EQ(meta["cleaning"].dump(), R"([{"step":"lowercase"},{"step":"normalize_whitespace"}])");
  EXPECT_EQ(meta["documents"], "line");
}

TEST_F(PrepareTest, WithoutAnEosTokenDocumentsFollowEachOther) {
  const Path path = file("t.txt", corpus(9));
  tokenizer_ = text::Tokenizer::train(std::span(&path, 1),
                                      {.vocab_size = 300, .special_tokens = {}}, executor_);
  const Dataset dataset = prepared("a\n\nb\n", {.val_fraction = 0});
  EXPECT_EQ(documents(dataset.train()), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(dataset.eos_id(), std::nullopt);
}

TEST_F(PrepareTest, ALongDocumentGivesBothSplits) {
  std::string text;
  for (int i = 0; i < 60000; ++i) text += concat("sentence ", i, " of a book\n");
  const Dataset dataset = prepared(text);
  EXPECT_GT(dataset.val().tokens(), 0);
  EXPECT_GT(dataset.train().tokens(), dataset.val().tokens());
  // One document: one [EOS] in all.
  int ends = 0;
  for (const char* name : {"train", "val"}) {
    for (const std::string& part : documents(dataset.split(name))) ends += part.ends_with("[EOS]");
  }
  EXPECT_EQ(ends, 1);
}

TEST_F(PrepareTest, BadInputLeavesNothingBehind) {
  const size_t before = entries();
  const auto failure = [&](const std::vector<Path>& files, const PrepareOptions& options) {
    const auto message = message_of<Error>(
        [&] { prepare(files, *tokenizer_, folder_ / "out", options, executor_); });
    for (const Path& path : files) std::filesystem::remove(path);
    EXPECT_EQ(entries(), before) << message;
    return message;
  };
  EXPECT_EQ(failure({}, {}), "there are no files to prepare");
  EXPECT_EQ(failure({file("e.txt", "\n \n")}, {}), "there is no text to prepare");
  EXPECT_NE(failure({folder_ / "no.txt"}, {}).find("No such file"), std::string::npos);
  EXPECT_NE(failure({file("x.txt", corpus(3) + "\xff")}, {}).find("invalid UTF-8 at byte"),
            std::string::npos);
  EXPECT_EQ(failure({file("a.txt", "a")}, {.val_fraction = 1.5}),
            "val_fraction is 1.5; it takes 0 to less than 1");
  EXPECT_EQ(failure({file("a.txt", "a")}, {.val_fraction = 0.999999}),
            "val_fraction is 0.999999, by which the only document fell into the validation split; "
            "0 holds none out");
  EXPECT_EQ(failure({file("a.txt", "a\n\nb")}, {.val_fraction = 0.999999}),
            "val_fraction is 0.999999, by which all 2 documents fell into the validation split; "
            "0 holds none out");
  EXPECT_EQ(failure({file("a.txt", "a")}, {.shard_tokens = 0}),
            "shard_tokens is 0; it takes at least 1");
}

TEST_F(PrepareTest, WhatStandsAtTheOutputIsNotLost) {
  prepared(corpus(20));
  const std::string meta = read_file(folder_ / "out" / "meta.json");
  const auto again = [&](const char* name, bool overwrite) {
    return message_of<FileError>([&] {
      prepare({file("b.txt", corpus(30))}, *tokenizer_, folder_ / name, {.overwrite = overwrite},
              executor_);
    });
  };
  EXPECT_NE(again("out", false).find("out exists already; overwrite replaces it"),
            std::string::npos);
  EXPECT_EQ(read_file(folder_ / "out" / "meta.json"), meta);
  std::filesystem::create_directories(folder_ / "mine");
  file("mine/notes.txt", "dear diary");
  EXPECT_NE(again("mine", true).find("is in the way"), std::string::npos);
  EXPECT_NE(again("b.txt", true).find("is in the way"), std::string::npos);
  EXPECT_EQ(again("out", true), "");
  EXPECT_NE(read_file(folder_ / "out" / "meta.json"), meta);
  std::filesystem::create_directories(folder_ / "empty");
  EXPECT_EQ(again("empty/", false), "");
  EXPECT_EQ(entries(), 5u);  // a.txt, b.txt, out, mine, empty
}

TEST_F(PrepareTest, OverwritingRemovesTheDatasetAndNothingElse) {
  prepared(corpus(20));
  for (const char* neighbour : {"out.old", "out.new"}) {
    std::filesystem::create_directories(folder_ / neighbour);
    file(concat(neighbour, "/kept.txt"), "a backup");
  }
  const Path text = file("b.txt", corpus(30));
  const auto again = [&](const Path& out) {
    prepare({text}, *tokenizer_, out, {.overwrite = true}, executor_);
  };
  again(folder_ / "out");
  EXPECT_EQ(read_file(folder_ / "out.old" / "kept.txt"), "a backup");
  EXPECT_EQ(read_file(folder_ / "out.new" / "kept.txt"), "a backup");

  std::filesystem::create_directory_symlink("out", folder_ / "link");
  again(folder_ / "link");
  EXPECT_TRUE(std::filesystem::is_symlink(folder_ / "link"));

  file("out/notes.txt", "dear diary");
  const std::string message = message_of<FileError>([&] { again(folder_ / "out"); });
  EXPECT_NE(message.find("it holds notes.txt, which is no part of a dataset"), std::string::npos);
  EXPECT_EQ(read_file(folder_ / "out" / "notes.txt"), "dear diary");

  std::filesystem::create_directories(folder_ / "foreign");
  file("foreign/meta.json", "{}");
  EXPECT_THROW(again(folder_ / "foreign"), FileError);
  EXPECT_THROW(again("."), ValueError);
  EXPECT_EQ(entries(), 7u);  // a.txt, b.txt, out, out.old, out.new, link, foreign
}

TEST_F(PrepareTest, WhatWasCleanedAndReadIsRecorded) {
  const Dataset dataset =
      prepared("caf\u00e9, \uff21!<|end|>\xff<|end|>b",
               {.val_fraction = 0,
                .documents = Separator::text,
                .separator = "<|end|>",
                .cleaning = {.form = text::NormalForm::nfkc, .accents = true, .punctuation = true},
                .invalid_utf8 = text::InvalidUtf8::skip});
  EXPECT_EQ(documents(dataset.train()), (std::vector<std::string>{"cafe A[EOS]", "b[EOS]"}));
  const json meta = json::parse(dataset.meta_json());
  EXPECT_EQ(meta["separator"], "<|end|>");
  EXPECT_EQ(meta["cleaning"][0]["form"], "nfkc");
  EXPECT_EQ(meta["cleaning"][1]["step"], "strip_accents");
  EXPECT_EQ(meta["cleaning"][2]["step"], "remove_punctuation");
  EXPECT_EQ(meta["invalid_utf8"]["skipped"], 1);
}

TEST_F(PrepareTest, WhatAKilledProcessLeftIsRemovedAndNothingElse) {
  const pid_t child = fork();
  if (child == 0) {
    prepare({file("k.txt", corpus(3000))}, *tokenizer_, folder_ / "out", {}, executor_,
            [](const text::Progress&) { std::raise(SIGKILL); });
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  const auto left = [&] {
    int n = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      n += entry.path().string().find("out.tmp-") != std::string::npos;
    }
    return n;
  };
  ASSERT_EQ(left(), 1);
  EXPECT_THROW(Dataset(folder_ / "out"), FileError);
  // Of a process that lives; and of one that is gone, but somebody's notes.
  std::filesystem::create_directories(folder_ / concat("out.tmp-", getpid(), "-1"));
  std::filesystem::create_directories(folder_ / concat("out.tmp-", child, "-77"));
  file(concat("out.tmp-", child, "-77/notes.txt"), "dear diary");
  prepared(corpus(20));
  EXPECT_EQ(left(), 2);
  EXPECT_EQ(read_file(folder_ / concat("out.tmp-", child, "-77") / "notes.txt"), "dear diary");
}

class ResplitTest : public PrepareTest {
 protected:
  Dataset split(const Dataset& dataset, const ResplitOptions& options, const char* name = "new") {
    resplit(dataset, tokenizer_->to_json(), folder_ / name, options, executor_);
    Dataset made(folder_ / name);
    made.verify();
    return made;
  }
  std::multiset<std::string> all(const Dataset& dataset) {
    std::multiset<std::string> texts;
    for (const char* name : kSplitNames) {
      for (const std::string& text : documents(dataset.split(name))) texts.insert(text);
    }
    return texts;
  }
};

TEST_F(ResplitTest, EveryDocumentGoesToOneSplitByItsIds) {
  const Dataset dataset = prepared(corpus(1000), {.shard_tokens = 3000});
  const Dataset made = split(dataset, {.val_fraction = 0.3, .shard_tokens = 4000});
  EXPECT_EQ(all(made), all(dataset));
  EXPECT_NEAR(static_cast<double>(made.val().documents()), 300, 60);
  EXPECT_EQ(made.train().bytes() + made.val().bytes(),
            dataset.train().bytes() + dataset.val().bytes());
  // Where a document goes does not depend on where it was; a larger share keeps what was there.
  const Dataset again = split(made, {.val_fraction = 0.3}, "again");
  const auto was = documents(made.val()), is = documents(again.val());
  EXPECT_EQ(std::multiset<std::string>(was.begin(), was.end()),
            std::multiset<std::string>(is.begin(), is.end()));
  const auto more = documents(split(made, {.val_fraction = 0.5}, "more").val());
  const std::multiset<std::string> larger(more.begin(), more.end());
  for (const std::string& text : was) EXPECT_TRUE(larger.contains(text));
  const json meta = json::parse(made.meta_json());
  EXPECT_EQ(meta["split_by"], "ids");
  EXPECT_EQ(meta["sources"], json::parse(dataset.meta_json())["sources"]);
}

TEST_F(ResplitTest, InPlaceAndRefusals) {
  const Dataset dataset = prepared(corpus(300));
  const auto before = all(dataset);
  EXPECT_THROW(split(dataset, {.val_fraction = 0.5}, "out"), FileError);
  EXPECT_EQ(all(split(dataset, {.val_fraction = 0.5, .overwrite = true}, "out")), before);
  EXPECT_EQ(message_of<ValueError>([&] { split(dataset, {.val_fraction = 1}); }),
            "val_fraction is 1; it takes 0 to less than 1");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "new"));
}

TEST_F(ResplitTest, AnOldDatasetAndFilesOfOthers) {
  const Path old = Path(MSLTX_SOURCE_DIR) / "tests_cpp" / "data" / "old" / "dataset_v1";
  tokenizer_ = text::Tokenizer::load(old);
  const Dataset first(old);
  const Dataset made = split(first, {.val_fraction = 0.5});
  EXPECT_EQ(all(made), all(first));
  EXPECT_EQ(made.train().bytes() + made.val().bytes(), first.train().bytes() + first.val().bytes());
  // The same ids as nanoGPT would have them.
  std::filesystem::create_directories(folder_ / "nano");
  for (const char* name : kSplitNames) {
    std::vector<int32_t> ids(static_cast<size_t>(first.split(name).tokens()));
    first.split(name).read(0, ids);
    const std::vector<uint16_t> narrow(ids.begin(), ids.end());
    file(concat("nano/", name, ".bin"),
         {reinterpret_cast<const char*>(narrow.data()), 2 * narrow.size()});
  }
  const Dataset foreign = Dataset::foreign(folder_ / "nano", *tokenizer_);
  EXPECT_EQ(foreign.train().tokens(), first.train().tokens());
  EXPECT_EQ(foreign.val().documents(), first.val().documents());
  EXPECT_EQ(all(split(foreign, {.val_fraction = 0.2}, "ours")), all(first));
  EXPECT_THROW(Dataset::foreign(folder_ / "nano" / "val.bin", *tokenizer_), FileError);
  EXPECT_THROW(Dataset::foreign(folder_ / "none", *tokenizer_), FileError);
}

TEST_F(PrepareTest, CancellingLeavesNothingBehind) {
  const Path path = file("a.txt", corpus(40000));
  EXPECT_THROW(prepare({path}, *tokenizer_, folder_ / "out", {}, executor_,
                       [&](const text::Progress&) { executor_.cancel(); }),
               Cancelled);
  EXPECT_EQ(entries(), 1u);
}

// A limit on the size of files stands in for a full disk: the write fails half-way.
TEST_F(PrepareTest, AFullDiskIsOneErrorAndLeavesTheOldDataset) {
  prepared(corpus(20));
  const std::string meta = read_file(folder_ / "out" / "meta.json");
  const Path path = file("a.txt", corpus(5000));
  const size_t before = entries();
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  const rlimit small{.rlim_cur = 20000, .rlim_max = limit.rlim_max};
  const auto previous = std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string message = message_of<FileError>(
      [&] { prepare({path}, *tokenizer_, folder_ / "out", {.overwrite = true}, executor_); });
  setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, previous);
  EXPECT_NE(message.find("cannot write "), std::string::npos) << message;
  EXPECT_EQ(entries(), before);
  EXPECT_EQ(read_file(folder_ / "out" / "meta.json"), meta);
}

class DatasetTest : public PrepareTest {
 protected:
  Dataset prepared_with(const text::Tokenizer& tokenizer, const std::string& text) {
    prepare({file("a.txt", text)}, tokenizer, folder_ / "out", {.val_fraction = 0.3}, executor_);
    return Dataset(folder_ / "out");
  }
  std::string complaint(const std::function<void(json&)>& change) {
    json meta = json::parse(read_file(folder_ / "out" / "meta.json"));
    const std::string whole = meta.dump();
    change(meta);
    write_file(folder_ / "out" / "meta.json", meta.dump());
    const auto message = message_of<FileError>([&] { Dataset dataset(folder_ / "out"); });
    write_file(folder_ / "out" / "meta.json", whole);
    return message;
  }
};

TEST_F(DatasetTest, DamagedMetaIsRefused) {
  prepared(corpus(200));
  EXPECT_EQ(complaint([](json&) {}), "");
  const std::vector<std::function<void(json&)>> changes{
      [](json& m) { m["format"] = "other"; },
      [](json& m) { m["version"] = 3; },
      [](json& m) { m["version"] = "1"; },
      [](json& m) { m.erase("vocab_size"); },
      [](json& m) { m["vocab_size"] = 301; },
      [](json& m) { m["vocab_size"] = 18446744073709551615u; },
      [](json& m) { m["eos_id"] = 300; },
      [](json& m) { m.erase("splits"); },
      [](json& m) { m["splits"].erase("val"); },
      [](json& m) { m["splits"]["train"]["tokens"] = 5; },
      [](json& m) { m["splits"]["train"]["bytes"] = -5; },
      [](json& m) { m["splits"]["train"]["shards"] = "train-00000.bin"; },
      [](json& m) { m["splits"]["train"]["shards"][0] = "../train-00000.bin"; },
      [](json& m) { m["splits"]["train"]["shards"][0] = "train-00009.bin"; },
      [](json& m) { m["splits"]["train"]["shards"].push_back("train-00000.bin"); },
      [](json& m) { m = 5; },
  };
  for (size_t i = 0; i < changes.size(); ++i) EXPECT_NE(complaint(changes[i]), "") << i;
}

TEST_F(DatasetTest, AFolderWithoutMetaIsNoDataset) {
  prepared(corpus(20));
  std::filesystem::remove(folder_ / "out" / "meta.json");
  EXPECT_NE(message_of<FileError>([&] {
              Dataset dataset(folder_ / "out");
            }).find("is no dataset: it has no meta.json"),
            std::string::npos);
  EXPECT_EQ(message_of<FileError>([&] { Dataset dataset("no/such"); }),
            "cannot open no/such: No such file or directory");
  write_file(folder_ / "out" / "meta.json", "{ not json");
  EXPECT_THROW(Dataset(folder_ / "out"), FileError);
}

// Written by version 1 of the format. Its splits and batches may never change: runs resume by them.
TEST_F(DatasetTest, AnOldDatasetIsReadAsEver) {
  const Path old = Path(MSLTX_SOURCE_DIR) / "tests_cpp" / "data" / "old" / "dataset_v1";
  const Dataset dataset(old);
  dataset.verify();
  EXPECT_EQ(dataset.train().tokens(), 122);
  EXPECT_EQ(dataset.val().tokens(), 58);
  const text::Tokenizer tokenizer = text::Tokenizer::load(old);
  std::vector<int32_t> ids(58);
  dataset.val().read(0, ids);
  EXPECT_TRUE(tokenizer.decode(ids).starts_with("Document 2\nhas 4 words.[EOS]Document 3\n"));
  const Batches batches(dataset.train(), {.batch_size = 2, .length = 8}, 0);
  std::vector<int32_t> tokens(16), targets(16);
  batches.fill(0, tokens.data(), targets.data());
  EXPECT_EQ(tokens, (std::vector<int32_t>{260, 262, 266, 87, 224, 20, 19, 202, 266, 87, 224, 20,
                                          202, 265, 224, 20}));
  // Prepared again, the same text gives the same files.
  const Dataset again = prepared_with(tokenizer, [] {
    std::string text;
    for (int i = 0; i < 12; ++i) text += concat("Document ", i, "\nhas ", i * i, " words.\n\n");
    return text;
  }());
  for (const char* name : {"train-00000.bin", "val-00000.bin"}) {
    EXPECT_TRUE(read_file(again.path() / name) == read_file(old / name)) << name;
  }
  const DocumentIndex before = dataset.train().shards()[0].index();
  const DocumentIndex after = again.train().shards()[0].index();
  EXPECT_FALSE(before.has_bytes());
  ASSERT_EQ(before.documents(), after.documents());
  for (int64_t i = 0; i <= after.documents(); ++i) EXPECT_EQ(before.begin(i), after.begin(i));
  EXPECT_EQ(after.bytes_before(after.documents()), dataset.train().bytes());
}

TEST_F(DatasetTest, SplitsByName) {
  const Dataset dataset = prepared(corpus(100));
  EXPECT_EQ(&dataset.split("train"), &dataset.train());
  EXPECT_THROW(dataset.split("test"), ValueError);
  std::vector<int32_t> ids(10);
  EXPECT_THROW(dataset.train().read(dataset.train().tokens() - 9, ids), ValueError);
}

}  // namespace
}  // namespace msltx::data
