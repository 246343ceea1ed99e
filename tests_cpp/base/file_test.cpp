#include "msltx/base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "msltx/base/error.h"
#include "msltx/base/executor.h"
#include "msltx/base/file_content.h"

namespace msltx {
namespace {

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = Path(testing::TempDir()) /
              concat("msltx_file_", getpid(), "_",
                     testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  size_t entries() const {
    size_t n = 0;
    for ([[maybe_unused]] const auto& e : std::filesystem::directory_iterator(folder_)) ++n;
    return n;
  }
  Path folder_;
};

TEST_F(FileTest, CommitReplacesWhole) {
  const Path path = folder_ / "a.txt";
  write_file(path, "old");
  {
    AtomicFile file(path);
    file.write("new text");
    EXPECT_EQ(read_file(path), "old");
    file.seek(0);
    file.write("N");
    file.commit();
  }
  EXPECT_EQ(read_file(path), "New text");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(FileTest, WithoutCommitNothingChanges) {
  const Path path = folder_ / "a.txt";
  write_file(path, "old");
  { AtomicFile(path).write("half"); }
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(FileTest, FolderAppearsWhole) {
  const Path path = folder_ / "step";
  {
    AtomicFolder folder(path);
    write_file(folder.path() / "x", "1");
  }
  EXPECT_EQ(entries(), 0u);
  AtomicFolder folder(path);
  write_file(folder.path() / "x", "1");
  folder.commit();
  EXPECT_EQ(read_file(path / "x"), "1");
  EXPECT_THROW(AtomicFolder again(path), FileError);
}

TEST_F(FileTest, SymlinkIsReplaced) {
  replace_symlink(folder_ / "last", "one");
  replace_symlink(folder_ / "last", "two");
  EXPECT_EQ(std::filesystem::read_symlink(folder_ / "last"), Path("two"));
}

TEST_F(FileTest, WhatIsNoRegularFileIsNeverReplaced) {
  const Path pipe = folder_ / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THROW(write_file(pipe, "x"), FileError);
  EXPECT_TRUE(std::filesystem::is_fifo(pipe));
  EXPECT_THROW(write_file(folder_, "x"), FileError);
  EXPECT_EQ(entries(), 1u);
}

TEST_F(FileTest, ThreadsMayWriteTheSameFile) {
  const std::string texts[] = {std::string(100000, 'a'), std::string(100000, 'b')};
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (const std::string& text : texts) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        try {
          write_file(folder_ / "x", text);
        } catch (const FileError&) {
          ++failures;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
  const std::string last = read_file(folder_ / "x");
  EXPECT_TRUE(last == texts[0] || last == texts[1]);
  EXPECT_EQ(entries(), 1u);
}

TEST_F(FileTest, FolderReplacesAFolder) {
  std::filesystem::create_directories(folder_ / "out");
  write_file(folder_ / "out" / "former", "1");
  {
    AtomicFolder dropped(folder_ / "out", Existing::replace);
    write_file(dropped.path() / "fresh", "2");
  }
  EXPECT_EQ(read_file(folder_ / "out" / "former"), "1");
  AtomicFolder made(folder_ / "out", Existing::replace);
  write_file(made.path() / "fresh", "2");
  made.commit();
  EXPECT_EQ(read_file(folder_ / "out" / "fresh"), "2");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out" / "former"));
  EXPECT_EQ(entries(), 1u);
}

TEST_F(FileTest, MapsAndRefuses) {
  write_file(folder_ / "x", "12345");
  write_file(folder_ / "empty", "");
  EXPECT_EQ(MappedFile(folder_ / "x").bytes().size(), 5u);
  EXPECT_TRUE(MappedFile(folder_ / "empty").bytes().empty());
  EXPECT_THROW(MappedFile(folder_ / "missing"), FileError);
  EXPECT_THROW(MappedFile{folder_}, FileError);
  EXPECT_THROW(read_file(folder_ / "missing"), FileError);
}

TEST_F(FileTest, ContentIsReadByAllThreads) {
  Executor executor(3);
  std::string text;
  while (text.size() < (size_t{3} << 20) + 5) text += std::to_string(text.size()) + "\n";
  for (const std::string& one : {text, std::string("short"), std::string()}) {
    write_file(folder_ / "x", one);
    EXPECT_EQ(FileContent(folder_ / "x", executor).text(), one);
  }
  EXPECT_THROW(FileContent(folder_ / "missing", executor), FileError);
  EXPECT_THROW(FileContent(folder_, executor), FileError);
}

TEST(File, FullDiskIsOneSentence) {
  if (access("/dev/full", W_OK) != 0) GTEST_SKIP() << "this system has no /dev/full";
  std::FILE* full = std::fopen("/dev/full", "wb");
  std::fputc('x', full);
  EXPECT_NE(std::fflush(full), 0);
  EXPECT_EQ(system_error_message("write", "x.bin"),
            "cannot write x.bin: no space left on the disk");
  std::fclose(full);
}

}  // namespace
}  // namespace msltx
