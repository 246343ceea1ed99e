#include "msltx/base/file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "msltx/base/error.h"

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

TEST_F(FileTest, MapsAndRefuses) {
  write_file(folder_ / "x", "12345");
  write_file(folder_ / "empty", "");
  EXPECT_EQ(MappedFile(folder_ / "x").bytes().size(), 5u);
  EXPECT_TRUE(MappedFile(folder_ / "empty").bytes().empty());
  EXPECT_THROW(MappedFile(folder_ / "missing"), FileError);
  EXPECT_THROW(MappedFile{folder_}, FileError);
  EXPECT_THROW(read_file(folder_ / "missing"), FileError);
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
